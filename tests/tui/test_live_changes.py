"""Editing and rolling back on a real mesh: the preview comes true at real Envoys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from textual.screen import ModalScreen
from textual.widgets import TextArea

from meshwright.control_plane.api import mesh_locator
from meshwright.tui.app import DashboardApp
from meshwright.tui.dialogs.choose_one import ChooseOne
from meshwright.tui.dialogs.confirm_change import ConfirmChange
from meshwright.tui.dialogs.yaml_editor import YamlEditor
from meshwright.tui.features.policies.detail import PolicyDetail
from meshwright.tui.features.policies.screen import PoliciesScreen
from meshwright.tui.widgets.table import Table
from tests.envoy.harness import Mesh, running_mesh, service
from tests.envoy.strict_envoy import ERROR, PATTERN, write_strict_envoy
from tests.tui.pilot import Dashboard, wait_for_text, wait_until

WITHIN = 60.0
"""Seconds for what takes one second on an idle host."""

ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: ingress}
spec:
  parentRefs: [{kind: Gateway, name: ingress}]
  rules:
    - matches: [{path: {type: RegularExpression, value: '/e.*'}}]
      filters:
        - type: ResponseHeaderModifier
          responseHeaderModifier: {set: [{name: x-mark, value: first}]}
      backendRefs: [{name: front}]
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    envoy = write_strict_envoy(tmp_path_factory.mktemp("envoy"))
    folder = tmp_path_factory.mktemp("live")
    with running_mesh(folder, [service("front")], MESH_ENVOY=envoy, MESH_VERIFY="off") as mesh:
        mesh.apply(ROUTE)
        yield mesh


@asynccontextmanager
async def on_the_route(mesh: Mesh) -> AsyncIterator[Dashboard]:
    """A dashboard with the route selected."""
    app = DashboardApp(lambda: mesh_locator.locate_mesh({}, mesh.state), author="me@test")
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("4")
        await wait_until(pilot, lambda: isinstance(app.screen, PoliciesScreen) and row(pilot), WITHIN)
        app.screen.query_one("#policies", Table).select_key("HTTPRoute/ingress")
        await wait_until(pilot, lambda: app.screen.query_one(PolicyDetail).policy, WITHIN)
        yield pilot


def row(pilot: Dashboard) -> tuple[str, ...]:
    """The route's row in the list; empty while the list is not shown."""
    for table in pilot.app.screen.query("#policies").results(Table):
        for row in table.rows:
            if row.key == "HTTPRoute/ingress":
                return tuple(cell.text for cell in row.cells)
    return ()


async def wait_for_state(pilot: Dashboard, words: str) -> None:
    """Wait for a state of the route in the list."""
    await wait_until(pilot, lambda: words in row(pilot)[3:4], WITHIN)


def notices(pilot: Dashboard) -> str:
    """The notifications."""
    return "\n".join(row.message for row in pilot.app._notifications)


def mark(mesh: Mesh) -> str:
    """The header that the route sets on a response."""
    return mesh.outside("/echo").headers.get("x-mark", "")


async def sheet(pilot: Dashboard, kind: type[Any]) -> None:
    """Wait for a dialog that has the focus."""
    await wait_until(pilot, lambda: isinstance(pilot.app.screen, kind) and pilot.app.focused, WITHIN)
    await pilot.pause()


async def edit(pilot: Dashboard, old: str, new: str) -> None:
    """Edit the route, up to the confirmation."""
    await pilot.press("e")
    await sheet(pilot, YamlEditor)
    area = pilot.app.screen.query_one(TextArea)
    assert old in area.text
    area.text = area.text.replace(old, new)
    await pilot.press("ctrl+s")
    await sheet(pilot, ConfirmChange)


async def take_back(pilot: Dashboard) -> None:
    """Roll the route back to before its last change, up to the confirmation."""
    await wait_until(pilot, lambda: not isinstance(pilot.app.screen, ModalScreen), WITHIN)
    await pilot.press("B")
    await sheet(pilot, ChooseOne)
    await pilot.press("enter")
    await sheet(pilot, ConfirmChange)


async def test_an_edit_reaches_the_previewed_envoy_and_is_rolled_back(mesh: Mesh) -> None:
    async with on_the_route(mesh) as pilot:
        assert mark(mesh) == "first"
        await edit(pilot, "value: first", "value: second")
        await wait_for_text(pilot, "1 sidecar affected: ingress")
        assert mark(mesh) == "first"
        await pilot.press("y")
        await wait_until(pilot, lambda: "is programmed on every connected sidecar" in notices(pilot), WITHIN)
        assert mark(mesh) == "second"
        await take_back(pilot)
        await wait_for_text(pilot, "+", "value: first")
        await pilot.press("y")
        await wait_until(pilot, lambda: mark(mesh) == "first", WITHIN)
        await wait_for_state(pilot, "programmed 1/1")


async def test_a_rejection_is_shown_in_envoys_message_and_rolled_back(mesh: Mesh) -> None:
    async with on_the_route(mesh) as pilot:
        await edit(pilot, "/e.*", PATTERN)
        await pilot.press("y")
        await wait_until(
            pilot, lambda: "is rejected, the last accepted one stays in force" in notices(pilot), WITHIN
        )
        assert ERROR in notices(pilot)
        await wait_for_state(pilot, "rejected 0/1")
        await wait_for_text(pilot, "Rejected: ")
        assert mark(mesh) == "first"
        await take_back(pilot)
        await pilot.press("y")
        await wait_for_state(pilot, "programmed 1/1")
        assert mark(mesh) == "first"
