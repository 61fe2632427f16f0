"""The sheets on a real mesh: by keys from form to confirmation, shown by traffic, and undone."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList

from meshwright.control_plane.api import mesh_locator
from meshwright.tui.app import DashboardApp
from meshwright.tui.dialogs.choose_one import ChooseOne
from meshwright.tui.dialogs.confirm_change import ConfirmChange
from meshwright.tui.features.change.sheet_dialog import SheetDialog
from meshwright.tui.navigation import EdgeLocation, Location, ServiceLocation
from tests.envoy.harness import Mesh, running_mesh, service
from tests.tui.pilot import Dashboard, wait_for_text, wait_until
from tests.tui.steps import wait_for_location

WITHIN = 60.0
"""Seconds for what takes one second on an idle host."""

WEIGHTS, TIMEOUTS, RETRIES, FAULTS, UNDO = range(5)
"""The places of the menu."""

RETRY_OF_MESH = """
apiVersion: meshwright.io/v1
kind: Retry
metadata: {name: mesh}
spec:
  targetRefs: [{kind: Mesh}]
  attempts: 0
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    services = [
        service("front"),
        service("back", labels={"version": "v1"}),
        service("back", labels={"version": "v2"}),
    ]
    with running_mesh(tmp_path_factory.mktemp("sheets"), services) as mesh:
        mesh.apply(RETRY_OF_MESH)
        mesh.get("front-1", "http://back/echo").raise_for_status()
        yield mesh


@asynccontextmanager
async def dashboard_at(mesh: Mesh, location: Location) -> AsyncIterator[Dashboard]:
    """A dashboard at a location."""
    app = DashboardApp(lambda: mesh_locator.locate_mesh({}, mesh.state), author="me@test")
    async with app.run_test(size=(120, 40)) as pilot:
        await wait_until(pilot, lambda: app.mesh_state.topology and app.mesh_state.status, WITHIN)
        app.go(location)
        await wait_for_location(pilot, location)
        await pilot.pause()
        yield pilot


async def dialog(pilot: Dashboard, kind: type[ModalScreen[Any]]) -> None:
    """Wait for a dialog that has the focus."""
    await wait_until(pilot, lambda: isinstance(pilot.app.screen, kind) and pilot.app.focused, WITHIN)
    await pilot.pause()


async def choose(pilot: Dashboard, index: int) -> None:
    """Open the menu, and choose one of its entries."""
    await wait_until(pilot, lambda: not isinstance(pilot.app.screen, ModalScreen), WITHIN)
    await pilot.press("c")
    await dialog(pilot, ChooseOne)
    pilot.app.screen.query_one(OptionList).highlighted = index
    await pilot.press("enter")


async def fill_in(pilot: Dashboard, entry: int, **texts: str) -> None:
    """Fill in the fields of a sheet, and confirm the change once it is previewed."""
    await choose(pilot, entry)
    await dialog(pilot, SheetDialog)
    for key, text in texts.items():
        field = pilot.app.screen.query_one(f"#field-{key.replace('_', '-')}", Input)
        field.focus()
        field.value = ""
        await pilot.press(*text)
    await pilot.press("enter")
    await confirm(pilot)


async def confirm(pilot: Dashboard) -> None:
    """Confirm a change, and wait until every sidecar has it."""
    await dialog(pilot, ConfirmChange)
    pilot.app.clear_notifications()
    await pilot.press("y")
    await wait_until(pilot, lambda: "is programmed on every connected sidecar" in notices(pilot), WITHIN)


async def undo(pilot: Dashboard) -> None:
    """Undo the last change."""
    await choose(pilot, UNDO)
    await confirm(pilot)


def notices(pilot: Dashboard) -> str:
    """The notifications."""
    return "\n".join(each.message for each in pilot.app._notifications)


def policies(mesh: Mesh) -> set[str]:
    """The policies of the mesh."""
    return {f"{each['kind']}/{each['name']}" for each in mesh.status()["policies"]}


def served_by(mesh: Mesh) -> Counter[str]:
    """Which instances respond to twenty requests."""
    return Counter(mesh.get("front-1", "http://back/echo").headers["x-served-by"] for _ in range(20))


async def test_weights_of_versions(mesh: Mesh) -> None:
    async with dashboard_at(mesh, ServiceLocation("back")) as pilot:
        assert len(served_by(mesh)) == 2
        await fill_in(pilot, WEIGHTS, **{"0_weight": "0", "1_weight": "7"})
        (only,) = served_by(mesh)
        await fill_in(pilot, WEIGHTS, **{"0_weight": "3", "1_weight": "0"})
        (other,) = served_by(mesh)
        assert only != other
        await undo(pilot)
        assert set(served_by(mesh)) == {only}
    for kind, name in (("HTTPRoute", "back-weights"), ("Subset", "back-v1"), ("Subset", "back-v2")):
        mesh.delete(kind, name)


async def test_a_timeout_of_a_service(mesh: Mesh) -> None:
    async with dashboard_at(mesh, ServiceLocation("back")) as pilot:
        assert mesh.get("front-1", "http://back/delay?ms=1000").status_code == 200
        await fill_in(pilot, TIMEOUTS, request="100ms")
        assert mesh.get("front-1", "http://back/delay?ms=1000").status_code == 504
        await undo(pilot)
        assert mesh.get("front-1", "http://back/delay?ms=1000").status_code == 200
    assert "Timeout/back-timeout" not in policies(mesh)


async def test_retries_of_a_service_begin_with_those_of_the_mesh(mesh: Mesh) -> None:
    def tries() -> int:
        mesh.reset("back-1", "back-2")
        mesh.get("front-1", "http://back/status/503")
        return sum(mesh.counts(name).get("GET /status/503", 0) for name in ("back-1", "back-2"))

    async with dashboard_at(mesh, ServiceLocation("back")) as pilot:
        assert tries() == 1
        await choose(pilot, RETRIES)
        await dialog(pilot, SheetDialog)
        await wait_for_text(pilot, "begins with the values of Retry/mesh", "attempts: 0")
        await pilot.press("escape")
        await fill_in(pilot, RETRIES, attempts="3", on="503")
        assert tries() == 4
        await undo(pilot)
        assert tries() == 1


async def test_a_fault_of_an_edge_ends_when_its_fields_are_blank(mesh: Mesh) -> None:
    async with dashboard_at(mesh, EdgeLocation("front", "back")) as pilot:
        await fill_in(pilot, FAULTS, abort_status="418")
        assert mesh.get("front-1", "http://back/echo").status_code == 418
        assert "FaultInjection/front-back-faults" in policies(mesh)
        await fill_in(pilot, FAULTS, abort_status="")
        assert mesh.get("front-1", "http://back/echo").status_code == 200
        await undo(pilot)
        assert mesh.get("front-1", "http://back/echo").status_code == 418
        await undo(pilot)
        assert mesh.get("front-1", "http://back/echo").status_code == 200


async def test_a_refused_text_comes_back_with_the_reason(mesh: Mesh) -> None:
    async with dashboard_at(mesh, ServiceLocation("back")) as pilot:
        before = policies(mesh)
        await choose(pilot, TIMEOUTS)
        await dialog(pilot, SheetDialog)
        pilot.app.screen.query_one("#field-request", Input).value = "1s"
        pilot.app.screen.query_one("#field-backendRequest", Input).value = "2s"
        await pilot.press("enter")
        await wait_for_text(pilot, "backendRequest is longer than request")
        await dialog(pilot, SheetDialog)
        assert pilot.app.screen.query_one("#field-request", Input).value == "1s"
        pilot.app.screen.query_one("#field-request", Input).value = "soon"
        await wait_for_text(pilot, "request: write a duration like 500ms")
        await pilot.press("enter", "escape")
        await wait_for_location(pilot, ServiceLocation("back"))
        assert policies(mesh) == before
