"""The dashboard goes back in time: topology, services and events as they were, and other screens say so."""

from __future__ import annotations

import pytest

from meshwright.control_plane.api.models.moments import Moment, PastMesh, RecordedRange
from meshwright.control_plane.api.models.topology import ServiceList, Topology
from meshwright.control_plane.api.models.verdict import Verdict
from meshwright.tui.mesh_state import DashboardState
from meshwright.tui.past import as_of, next_time
from tests.control_plane.moments.samples import moment
from tests.fakes.admin_api import FakeAdminApi
from tests.fakes.mesh_fixture import NOW
from tests.fakes.scenarios import exchange
from tests.tui.pilot import Dashboard, open_dashboard, screen_text, wait_until
from tests.tui.screenshots import stable_screenshot
from tests.tui.steps import press
from tests.tui.test_snapshots import ADVICE, equals_snapshot

RECORDED = RecordedRange(oldest=NOW - 4000, newest=NOW - 10, earlier=NOW - 780, later=NOW - 710)
PAST = PastMesh(at=NOW - 719, moment=moment(NOW - 720, revision=40), recorded=RECORDED)


@pytest.mark.parametrize(
    ("step", "time"),
    [
        ("earlier", NOW - 780),
        ("later", NOW - 710),
        ("much-earlier", NOW - 1020),
        ("much-later", NOW - 420),
    ],
)
def test_a_step_leads_to_a_neighbour_or_five_minutes_away(step: str, time: float) -> None:
    assert next_time(PAST, step, NOW) == time  # type: ignore[arg-type]


def test_steps_end_at_the_oldest_moment_and_at_now() -> None:
    oldest = PAST.model_copy(update={"moment": moment(NOW - 4000)})
    assert next_time(oldest, "much-earlier", NOW) == NOW - 4000
    newest = PAST.model_copy(
        update={"moment": moment(NOW - 10), "recorded": RECORDED.model_copy(update={"later": 0.0})}
    )
    assert next_time(newest, "later", NOW) is None
    assert next_time(newest, "much-later", NOW) is None
    assert (next_time(None, "earlier", NOW), next_time(None, "later", NOW)) == (NOW, None)


def test_a_state_of_the_past_has_nothing_of_now() -> None:
    mesh = exchange()
    live = DashboardState(
        status=mesh.status, topology=mesh.topology, services=mesh.services, proxies=mesh.proxies
    )
    state = as_of(live, PAST)
    assert state.status is not None
    assert (state.status.revision, state.status.verdict) == (40, PAST.moment.verdict)
    assert state.topology == PAST.moment.topology
    assert (state.proxies, state.instances, state.refusals) == (None, None, None)


def record(api: FakeAdminApi) -> None:
    """Ten seconds ago all was as it is; twelve minutes ago only catalog was there, and healthy."""
    mesh = api.mesh
    catalog = {"catalog", "storefront"}
    quiet = Topology(
        nodes=tuple(node for node in mesh.topology.nodes if node.name in catalog),
        edges=tuple(edge for edge in mesh.topology.edges if {edge.from_, edge.to} <= catalog),
    )
    rows = tuple(row for row in mesh.services.services if row.name in catalog)
    api.moments = (
        Moment(
            time=NOW - 720,
            revision=39,
            verdict=Verdict(summary="healthy: 2 services, 2 proxies, 38.0 requests/s"),
            topology=quiet,
            services=ServiceList(services=rows),
        ),
        Moment(
            time=NOW - 10,
            revision=41,
            verdict=Verdict(summary="healthy"),
            topology=mesh.topology,
            services=mesh.services,
        ),
    )


async def shows(pilot: Dashboard, *texts: str) -> None:
    await wait_until(pilot, lambda: all(text in screen_text(pilot) for text in texts))


async def test_keys_go_back_in_time_and_to_now() -> None:
    async with open_dashboard() as (pilot, api):
        record(api)
        await press(pilot, "left_square_bracket")
        await shows(pilot, "«", "10 s ago", "rev 41", "] later", "0 now")
        await press(pilot, "left_square_bracket")
        await shows(pilot, "12 min ago", "rev 39", "healthy: 2 services", "catalog")
        assert "inventory" not in screen_text(pilot)
        assert equals_snapshot("past-120x40-dark.svg", await stable_screenshot(pilot)), ADVICE

        await press(pilot, "2")
        await shows(pilot, "12 min ago", "storefront")
        assert "inventory" not in screen_text(pilot)
        await press(pilot, "5")
        await shows(pilot, "no past here: this is now", "inventory-1")
        await press(pilot, "6")
        await shows(pilot, "the last until")
        await press(pilot, "right_square_bracket")
        await shows(pilot, "10 s ago")
        await press(pilot, "right_square_bracket")
        await shows(pilot, "live")
        assert "«" not in screen_text(pilot)


async def test_large_steps_esc_and_nothing_recorded() -> None:
    async with open_dashboard() as (pilot, api):
        await press(pilot, "left_square_bracket")
        await wait_until(pilot, lambda: any("/moments?" in path for path in api.requests))
        await pilot.pause()
        assert "«" not in screen_text(pilot)
        record(api)
        await press(pilot, "left_curly_bracket")
        await shows(pilot, "12 min ago")
        await press(pilot, "right_curly_bracket")
        await press(pilot, "escape")
        await wait_until(pilot, lambda: "«" not in screen_text(pilot))
        assert "inventory" in screen_text(pilot)
