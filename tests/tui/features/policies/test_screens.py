"""Policies by keys: viewed, changed after confirmation, and no text lost when a change is rejected.

The admin API is the real one, with an in-memory store.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input, TextArea

from meshwright.control_plane.api.calls import ChangeOptions, DocumentRef, SourcedDocument
from meshwright.control_plane.api.client import Client
from meshwright.control_plane.api.models.policies import Condition, PolicyStatus
from meshwright.control_plane.api.models.proxies import ProxyStatus
from meshwright.control_plane.api.models.status import Status
from meshwright.control_plane.core.revision import RevisionDocument
from meshwright.tui.app import DashboardApp
from meshwright.tui.dialogs.choose_one import ChooseOne
from meshwright.tui.dialogs.confirm_change import ConfirmChange
from meshwright.tui.dialogs.validation_errors import ValidationErrors
from meshwright.tui.dialogs.yaml_editor import YamlEditor
from meshwright.tui.features.policies.detail import PolicyDetail
from meshwright.tui.features.policies.detail_screen import PolicyDetailScreen
from meshwright.tui.features.policies.revisions_screen import RevisionsScreen
from meshwright.tui.features.policies.screen import PoliciesScreen
from meshwright.tui.widgets.table import Table
from tests.fakes.admin_server import FakeMesh, fake_mesh
from tests.tui.pilot import (
    Dashboard,
    open_dashboard,
    screen_text,
    type_search,
    wait_for_table,
    wait_for_text,
    wait_until,
)


def retry(name: str = "again", attempts: int = 2, target: str = "orders") -> dict[str, Any]:
    """A Retry document."""
    refs = [{"kind": "Service", "name": target}]
    return {
        "apiVersion": "meshwright.io/v1",
        "kind": "Retry",
        "metadata": {"name": name},
        "spec": {"targetRefs": refs, "attempts": attempts},
    }


@asynccontextmanager
async def on_policies(
    tmp_path: Path, size: tuple[int, int] = (120, 40), *, read_only: bool = False, reading: bool = False
) -> AsyncIterator[tuple[Dashboard, FakeMesh]]:
    """A dashboard on the policies tab. Revision 1 created a Retry, 2 raised its attempts, 3 created another.

    `read_only`: started with --read-only. `reading`: has the read-only token.
    """
    async with fake_mesh(tmp_path) as mesh:
        async with Client(mesh.endpoint) as client:
            for number, document in enumerate(
                (retry(), retry(attempts=5), retry("other", 1, "inventory")), 1
            ):
                change = ChangeOptions(message=f"reason {number}", author="ada")
                await client.apply([SourcedDocument(document)], change)
        mesh.affected = ("orders-1",)
        endpoint = mesh.read_only_endpoint if reading else mesh.endpoint
        app = DashboardApp(lambda: endpoint, author="me@test", read_only=read_only)
        async with app.run_test(size=size) as pilot:
            await pilot.press("4")
            await wait_until(
                pilot, lambda: isinstance(app.screen, PoliciesScreen) and app.mesh_state.policies
            )
            await wait_for_table(pilot)
            yield pilot, mesh


def table(pilot: Dashboard) -> Table:
    """The list."""
    return pilot.app.screen.query_one("#policies", Table)


async def sheet(pilot: Dashboard, kind: type[Any]) -> Any:
    """Wait for a dialog that has the focus and is drawn."""

    def there() -> bool:
        focused = pilot.app.focused
        return isinstance(pilot.app.screen, kind) and focused is not None and bool(focused.size.area)

    await wait_until(pilot, there)
    await pilot.pause()
    return pilot.app.screen


def shown(pilot: Dashboard) -> str:
    """The name of the policy in the details."""
    policy = pilot.app.screen.query_one(PolicyDetail).policy
    return policy.name if policy else ""


def notices(pilot: Dashboard) -> str:
    """The notifications; on screen they may be wrapped."""
    return "\n".join(notification.message for notification in pilot.app._notifications)


def attempts(mesh: FakeMesh, name: str = "again") -> object:
    """The attempts of a Retry in the newest revision."""
    documents = {document.key: document.document for document in mesh.store.revisions[-1].documents}
    return documents["Retry", name]["spec"]["attempts"] if ("Retry", name) in documents else None


def newest(mesh: FakeMesh) -> Any:
    """The newest revision's entry in the history."""
    return mesh.store.revisions[-1].info


async def test_a_policy_shows_its_history_and_changes(tmp_path: Path) -> None:
    async with on_policies(tmp_path) as (pilot, _):
        await wait_for_text(pilot, "attempts: 5")
        await pilot.press("h")
        await wait_for_text(pilot, "reason 1")
        assert "reason 3" not in screen_text(pilot)
        await pilot.press("d")
        await wait_until(
            pilot, lambda: "-  attempts: 2" in screen_text(pilot) and "+  attempts: 5" in screen_text(pilot)
        )
        await wait_for_text(pilot, "last change:")


async def test_a_policy_is_rolled_back_after_a_preview(tmp_path: Path) -> None:
    async with on_policies(tmp_path) as (pilot, mesh):
        await pilot.press("B")
        await sheet(pilot, ChooseOne)
        await pilot.press("enter")
        await sheet(pilot, ConfirmChange)
        await wait_for_text(pilot, "changed Retry/again", "1 sidecar affected: orders-1")
        await wait_for_text(pilot, "-  attempts: 5", "+  attempts: 2")
        assert newest(mesh).revision == 3
        await pilot.press("escape")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, PoliciesScreen))
        assert newest(mesh).revision == 3
        await pilot.press("B")
        await sheet(pilot, ChooseOne)
        await pilot.press("enter")
        await sheet(pilot, ConfirmChange)
        await pilot.press("e")
        await wait_until(pilot, lambda: isinstance(pilot.app.focused, Input))
        pilot.app.screen.query_one(Input).value = ""
        await pilot.press(*"too many", "enter")
        await wait_until(pilot, lambda: not isinstance(pilot.app.focused, Input))
        await pilot.press("y")
        await wait_until(pilot, lambda: newest(mesh).revision == 4)
        assert (newest(mesh).author, newest(mesh).message) == ("me@test", "too many")
        assert (attempts(mesh), attempts(mesh, "other")) == (2, 1)
        await wait_until(pilot, lambda: "revision 4 is programmed" in notices(pilot))


async def test_the_whole_mesh_is_rolled_back_to_a_revision(tmp_path: Path) -> None:
    async with on_policies(tmp_path) as (pilot, mesh):
        await pilot.press("H")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, RevisionsScreen))
        await wait_until(
            pilot, lambda: "reason 3" in screen_text(pilot) and "created Retry/other" in screen_text(pilot)
        )
        revisions = await wait_for_table(pilot)
        await type_search(pilot, "reason !2")
        await wait_until(pilot, lambda: [row.key for row in revisions.rows] == ["3", "1"])
        await pilot.press("escape")
        await wait_for_table(pilot)
        await pilot.press("down", "down", "d")
        await wait_until(pilot, lambda: "changes since revision 1" in screen_text(pilot))
        await pilot.press("B")
        await sheet(pilot, ConfirmChange)
        await wait_for_text(pilot, "deleted Retry/other")
        await pilot.press("y")
        await wait_until(pilot, lambda: newest(mesh).revision == 4)
        assert (attempts(mesh), attempts(mesh, "other")) == (2, None)
        assert newest(mesh).message == "rollback to revision 1"


async def test_a_policy_without_an_earlier_revision_is_deleted_after_confirmation(tmp_path: Path) -> None:
    async with on_policies(tmp_path) as (pilot, mesh):
        await pilot.press("down")
        await wait_until(pilot, lambda: shown(pilot) == "other")
        await pilot.press("B")
        await wait_until(pilot, lambda: "other has no earlier revision (D deletes it)" in notices(pilot))
        assert isinstance(pilot.app.screen, PoliciesScreen)
        await pilot.press("D")
        await sheet(pilot, ConfirmChange)
        await wait_for_text(pilot, "Delete Retry other?")
        await pilot.press("escape")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, PoliciesScreen))
        assert attempts(mesh, "other") == 1
        await wait_until(pilot, lambda: shown(pilot) == "other")
        await pilot.press("D")
        await sheet(pilot, ConfirmChange)
        await pilot.press("y")
        await wait_until(pilot, lambda: attempts(mesh, "other") is None)
        await wait_until(pilot, lambda: len(table(pilot).rows) == 1)


async def test_a_conflicting_change_is_shown_and_confirmed_again(tmp_path: Path) -> None:
    async with on_policies(tmp_path) as (pilot, mesh):
        await pilot.press("D")
        await sheet(pilot, ConfirmChange)
        async with Client(mesh.endpoint) as client:
            await client.apply(
                [SourcedDocument(retry(attempts=4))], ChangeOptions(message="quicker", author="bob")
            )
        await pilot.press("y")
        await wait_until(pilot, lambda: "the mesh changed since revision 3" in screen_text(pilot))
        await sheet(pilot, ConfirmChange)
        await wait_for_text(pilot, "bob", "quicker", "it changed the same policy", "-  attempts: 4")
        assert newest(mesh).revision == 4
        await pilot.press("y")
        await wait_until(pilot, lambda: attempts(mesh) is None)


async def edited(pilot: Dashboard, old: str, new: str) -> None:
    """Replace a text in the built-in editor, and save it."""
    area = (await sheet(pilot, YamlEditor)).query_one(TextArea)
    assert old in area.text
    area.text = area.text.replace(old, new)
    await pilot.press("ctrl+s")


async def test_an_edited_policy_is_previewed_and_applied(tmp_path: Path) -> None:
    async with on_policies(tmp_path) as (pilot, mesh):
        await pilot.press("e")
        await edited(pilot, "attempts: 5", "attempts: 3")
        await sheet(pilot, ConfirmChange)
        await wait_for_text(pilot, "+  attempts: 3")
        await pilot.press("y")
        await wait_until(pilot, lambda: attempts(mesh) == 3)
        await wait_until(pilot, lambda: "attempts: 3" in screen_text(pilot))


async def test_a_conflicting_edit_is_previewed_again_and_keeps_the_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drafts = tmp_path / "drafts"
    drafts.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(drafts))
    async with on_policies(tmp_path) as (pilot, mesh):
        await pilot.press("e")
        await edited(pilot, "attempts: 5", "attempts: 3")
        await sheet(pilot, ConfirmChange)
        async with Client(mesh.endpoint) as client:
            await client.apply(
                [SourcedDocument(retry(attempts=4))], ChangeOptions(message="quicker", author="bob")
            )
        await pilot.press("y")
        await wait_for_text(pilot, "it changed the same policy", "-  attempts: 4", "+  attempts: 3")
        await sheet(pilot, ConfirmChange)
        await pilot.press("escape")
        await wait_until(pilot, lambda: "your text is in" in notices(pilot))
        assert attempts(mesh) == 4
        (draft,) = drafts.rglob("*.yaml")
        assert "attempts: 3" in draft.read_text()


async def test_invalid_text_shows_the_line_and_is_edited_again(tmp_path: Path) -> None:
    async with on_policies(tmp_path) as (pilot, mesh):
        await pilot.press("e")
        await edited(pilot, "attempts: 5", "attempts: lots")
        await sheet(pilot, ValidationErrors)
        await wait_for_text(pilot, "spec.attempts", "›  ", "attempts: lots")
        await pilot.press("e")
        await edited(pilot, "attempts: lots", "attempts: [")
        await sheet(pilot, ValidationErrors)
        await wait_for_text(pilot, "not valid YAML")
        await pilot.press("e")
        await edited(pilot, "attempts: [", "attempts: 1")
        await sheet(pilot, ConfirmChange)
        await pilot.press("y")
        await wait_until(pilot, lambda: attempts(mesh) == 1)


async def test_text_that_was_not_applied_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drafts = tmp_path / "drafts"
    drafts.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(drafts))
    async with on_policies(tmp_path) as (pilot, mesh):
        await pilot.press("e")
        await edited(pilot, "attempts: 5", "attempts: 3")
        await sheet(pilot, ConfirmChange)
        await pilot.press("escape")
        await wait_until(pilot, lambda: "your text is in" in notices(pilot))
        (draft,) = drafts.rglob("*.yaml")
        assert "attempts: 3" in draft.read_text()
        assert attempts(mesh) == 5


async def test_the_users_editor_runs_in_a_terminal_that_can_suspend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "editor.py"
    script.write_text(
        "import pathlib, sys\n"
        "path = pathlib.Path(sys.argv[-1])\n"
        "path.write_text(path.read_text().replace('attempts: 5', 'attempts: 4'))\n"
    )
    monkeypatch.setenv("VISUAL", f"{sys.executable} {script}")
    monkeypatch.setattr("textual.drivers.headless_driver.HeadlessDriver.can_suspend", True, raising=False)
    monkeypatch.setattr("textual.drivers.headless_driver.HeadlessDriver.suspend_application_mode", _nothing)
    monkeypatch.setattr("textual.drivers.headless_driver.HeadlessDriver.resume_application_mode", _nothing)
    async with on_policies(tmp_path) as (pilot, mesh):
        await pilot.press("e")
        await sheet(pilot, ConfirmChange)
        await pilot.press("y")
        await wait_until(pilot, lambda: attempts(mesh) == 4)


def _nothing(driver: object) -> None:
    """Do nothing."""


async def test_a_rejected_change_is_reported_in_envoys_message(tmp_path: Path) -> None:
    async with on_policies(tmp_path) as (pilot, mesh):
        refusal = "Cluster orders: bad thresholds"
        proxy = ProxyStatus(name="orders-1", service="orders", state="rejected", revision=3, error=refusal)
        mesh.proxies = (proxy.model_copy(update={"responded_revision": 4, "rejected_revision": 4}),)
        conditions = (
            Condition(type="Accepted", status="True", reason="Accepted"),
            Condition(type="Rejected", status="True", reason="EnvoyRejected", message=refusal),
        )
        status = PolicyStatus(kind="Retry", name="other", state="rejected", conditions=conditions, affected=1)
        mesh.status = Status(revision=3, store="ok", policies=(status,))
        await pilot.press("D", "=")
        await sheet(pilot, ConfirmChange)
        await pilot.press("y")
        await wait_until(pilot, lambda: "is rejected, the last accepted one stays" in notices(pilot))
        await wait_until(pilot, lambda: table(pilot).rows[0].cells[3].text == "rejected 0/1")
        await wait_for_text(pilot, refusal)


@pytest.mark.parametrize("by", ["read_only", "reading"])
async def test_read_only_shows_everything_and_changes_nothing(tmp_path: Path, by: str) -> None:
    async with on_policies(tmp_path, read_only=by == "read_only", reading=by == "reading") as (pilot, mesh):
        await wait_for_text(pilot, "read only")
        await wait_until(pilot, lambda: "delete" not in screen_text(pilot).split("\n")[-1])
        await pilot.press("D", "B", "e")
        await pilot.pause()
        assert isinstance(pilot.app.screen, PoliciesScreen)
        await pilot.press("h", "escape", "d", "escape", "H")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, RevisionsScreen))
        await wait_for_text(pilot, "reason 3")
        await wait_until(pilot, lambda: "roll back" not in screen_text(pilot).split("\n")[-1])
        assert newest(mesh).revision == 3
        assert not notices(pilot)


@pytest.mark.parametrize("size", [(40, 10), (80, 24), (200, 60)])
async def test_three_hundred_policies_with_long_names_at_any_size(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    async with on_policies(tmp_path, size) as (pilot, mesh):
        many = tuple(RevisionDocument(retry(f"{n:03}-" + "n" * 55)) for n in range(300))
        await mesh.store.commit(3, many, author="ö" * 100, message="注文 " * 40)
        await wait_until(pilot, lambda: len(table(pilot).rows) == 300)
        await pilot.press("end", "h")
        await pilot.press("escape")
        await wait_for_table(pilot)
        await pilot.press("home")
        await type_search(pilot, "299")
        await wait_until(pilot, lambda: len(table(pilot).rows) == 1)
        await pilot.press("enter")
        lines = screen_text(pilot).split("\n")
        assert (len(lines), max(map(len, lines)) <= size[0]) == (size[1], True)
        await pilot.press("escape")
        await wait_until(pilot, lambda: len(table(pilot).rows) == 300)
        await wait_for_table(pilot)
        await pilot.press("enter")
        await wait_until(pilot, lambda: not isinstance(pilot.app.screen, PoliciesScreen))
        await pilot.press("H")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, RevisionsScreen))


async def test_without_policies_it_says_what_to_do() -> None:
    async with open_dashboard("empty") as (pilot, _):
        await pilot.press("4")
        await wait_for_text(pilot, "mesh apply -f")
        await pilot.press("B", "e", "D", "h", "d", "y")
        await pilot.press("H")
        await wait_until(pilot, lambda: "no revisions yet" in screen_text(pilot))


async def test_a_deleted_policy_says_so(tmp_path: Path) -> None:
    async with on_policies(tmp_path) as (pilot, mesh):
        await pilot.press("enter")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, PolicyDetailScreen))
        async with Client(mesh.endpoint) as client:
            await client.delete([DocumentRef("Retry", "again")])
        await wait_until(pilot, lambda: "there is no policy Retry/again" in screen_text(pilot))
