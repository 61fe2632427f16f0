"""`mesh edit` and `mesh rollback`: a change by hand, and how it is undone."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from tests.cli.conftest import RunMesh
from tests.cli.samples import retry
from tests.fakes.admin_server import FakeMesh


async def test_rollback_without_a_number_undoes_the_last_change(mesh: FakeMesh, run: RunMesh) -> None:
    await run("apply", "-f", "-", text=retry())
    first = await run("rollback")
    assert (first.code, "nothing to undo" in first.err) == (2, True)
    assert "`mesh rollback 0`" in first.err
    await run("apply", "-f", "-", text=retry(attempts=9))
    assert (await run("rollback")).out.splitlines() == ["revision 3", "changed Retry/inventory-retry"]
    assert mesh.store.revisions[3].documents == mesh.store.revisions[1].documents
    await run("rollback")
    assert mesh.store.revisions[4].documents == mesh.store.revisions[2].documents, "an undo can be undone"


async def test_rollback_to_revision_0_removes_every_policy(mesh: FakeMesh, run: RunMesh) -> None:
    await run("apply", "-f", "-", text=retry())
    assert (await run("rollback", "0")).out.splitlines() == ["revision 2", "deleted Retry/inventory-retry"]
    assert not mesh.store.revisions[2].documents


def remove_draft(path: Path) -> str:
    """Delete what an edit has kept; its text."""
    text = path.read_text()
    shutil.rmtree(path.parent)
    return text


async def test_edit_applies_what_the_editor_leaves_and_keeps_what_is_invalid(
    mesh: FakeMesh, run: RunMesh
) -> None:
    def editor(script: str) -> dict[str, str]:
        return {"VISUAL": f"sed -i '{script}'"}

    await run("apply", "-f", "-", text=retry())
    same = await run("edit", "retry/inventory-retry", env=editor(""))
    assert (same.out, len(mesh.store.revisions)) == ("not changed\n", 2)
    done = await run("edit", "retry", "inventory-retry", env=editor("s/attempts: 2/attempts: 7/"))
    assert done.out.splitlines() == ["revision 2", "changed Retry/inventory-retry"]
    for script, problem in (
        ("s/attempts/atempts/", "did you mean attempts?"),
        ("s/inventory-/x-/", "kind or name"),
    ):
        wrong = await run("edit", "retry/inventory-retry", env=editor(script))
        assert (wrong.code, problem in wrong.err) == (2, True)
        draft = wrong.err.partition("your text is in ")[2].partition(":")[0]
        assert "inventory" in remove_draft(Path(draft))
    assert len(mesh.store.revisions) == 3
    assert "mesh edit KIND/NAME" in (await run("edit", "retry")).err


async def test_immediate_changes_are_not_on_trial(mesh: FakeMesh, run: RunMesh) -> None:
    mesh.store.staged = True
    await run("apply", "-f", "-", text=retry())
    await run("apply", "-f", "-", text=retry(attempts=9))
    assert "on trial" in (await run("history")).out
    assert "on trial" in (await run("show", "2")).out
    await run(
        "edit", "retry/inventory-retry", "--immediate", env={"VISUAL": "sed -i 's/attempts: 9/attempts: 7/'"}
    )
    await run("rollback", "2")
    await run("rollback", "1")
    await run("rollback", "2", "--immediate")
    await run("delete", "retry/inventory-retry", "--immediate")
    revisions = [(info.revision, info.on_trial) for info in (item.info for item in mesh.store.revisions[1:])]
    # 2 never was in force: to go back to it is a change like others. 1 was.
    assert revisions == [(1, False), (2, True), (3, False), (4, True), (5, False), (6, False), (7, False)]


async def test_what_was_withdrawn_is_shown_and_does_not_come_back_by_an_undo(
    mesh: FakeMesh, run: RunMesh
) -> None:
    await run("apply", "-f", "-", text=retry())
    await run("apply", "-f", "-", text=retry(attempts=9))
    withdrawn = mesh.store.revisions[2]
    info = withdrawn.info.model_copy(update={"withdrawn": "front-1 rejected it"})
    mesh.store.revisions[2] = replace(withdrawn, info=info)
    await run("rollback", "1")
    assert (await run("history")).out.splitlines()[2].split()[:2] == ["2", "withdrawn"]
    assert "withdrawn: front-1 rejected it" in (await run("show", "2")).out
    undo = await run("rollback")
    assert (undo.code, "revision 2 was withdrawn" in undo.err) == (2, True)
