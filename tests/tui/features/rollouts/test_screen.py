"""The list of rollouts: what it shows, and steering after a preview."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from meshwright.control_plane.api.models.rollouts import BackendFigures, RolloutStatus
from meshwright.tui.navigation import PolicyLocation, RolloutsLocation
from meshwright.tui.session import session_of
from meshwright.tui.widgets.table import Table
from tests.fakes.admin_api import FakeAdminApi
from tests.fakes.mesh_fixture import NOW
from tests.tui.pilot import Dashboard, open_dashboard, screen_text, type_search, wait_for_text, wait_until
from tests.tui.steps import press, wait_for_location


def rollout(name: str, **fields: Any) -> RolloutStatus:
    values: dict[str, Any] = {
        "route": f"HTTPRoute/{name}",
        "stable": f"Subset/{name}-v1",
        "canary": f"Subset/{name}-v2",
        "phase": "Progressing",
        "step": 2,
        "steps": 4,
        "weight": 25,
        "mirror": 0,
        "since": NOW - 240,
        "reason": "step 2 of 4",
        "waits_for": "60 s to pass",
        "canary_figures": BackendFigures(requests=120, failures=0, success_rate=100, p99_ms=40),
        "stable_figures": BackendFigures(requests=360, failures=3, success_rate=99.2, p99_ms=38),
    }
    return RolloutStatus(name=name, **{**values, **fields})


ABORTED = rollout(
    "quotes", phase="Aborted", weight=0, waits_for="", reason="12 of 100 requests to the canary failed"
)


async def open_rollouts(pilot: Dashboard, api: FakeAdminApi, *rollouts: RolloutStatus) -> Table:
    api.mesh = replace(api.mesh, rollouts=rollouts)
    await press(pilot, "4", "o")
    await wait_for_location(pilot, RolloutsLocation())
    await wait_until(pilot, lambda: pilot.app.screen.query_one(Table).count == len(rollouts))
    return pilot.app.screen.query_one(Table)


async def test_both_versions_are_beside_each_other_and_aborted_rollouts_first() -> None:
    async with open_dashboard(size=(200, 30)) as (pilot, api):
        table = await open_rollouts(pilot, api, rollout("orders"), ABORTED)
        assert [row.key for row in table.rows] == ["quotes", "orders"]
        await wait_for_text(pilot, "aborted", "12 of 100 requests to the canary", "waits for 60 s to pass")
        assert "orders-v2" in screen_text(pilot)
        assert [cell.text for cell in table.rows[1].cells[3:11]] == [
            "2/4", "25%", "orders-v2", "100", "40.0", "orders-v1", "99.2", "38.0",
        ]  # fmt: skip
        await type_search(pilot, "quotes")
        await wait_until(pilot, lambda: table.count == 1)
        await press(pilot, "enter", "enter")
        await wait_for_location(pilot, PolicyLocation("Rollout", "quotes"))


@pytest.mark.parametrize(
    ("key", "phase", "action"),
    [
        ("P", "Progressing", "promote"),
        ("F", "Progressing", "promote-fully"),
        ("Z", "Progressing", "pause"),
        ("Z", "Paused", "resume"),
        ("A", "Progressing", "abort"),
        ("R", "Aborted", "restart"),
    ],
)
async def test_steering_is_previewed_and_confirmed(key: str, phase: Any, action: str) -> None:
    async with open_dashboard() as (pilot, api):
        await open_rollouts(pilot, api, rollout("orders", phase=phase))
        await press(pilot, key)
        await wait_for_text(pilot, "orders", action.replace("-", " "), f"rollout orders: {action}")
        await press(pilot, "y")
        await wait_until(pilot, lambda: len(api.posted) == 2)
        assert [(path, body["action"], body["dryRun"]) for path, body in api.posted] == [
            ("rollouts/orders", action, True),
            ("rollouts/orders", action, False),
        ]


async def test_a_read_only_dashboard_cannot_steer() -> None:
    async with open_dashboard() as (pilot, api):
        api.mesh = replace(api.mesh, rights="read")
        await open_rollouts(pilot, api, rollout("orders"))
        await wait_until(pilot, lambda: session_of(pilot.app.screen).read_only)
        await press(pilot, "P")
        assert api.posted == []
