"""`mesh edit` and `mesh rollback`: a change by hand, and how it is undone."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.cli.conftest import RunMesh
from tests.cli.samples import retry
from tests.fakes.admin_server import FakeMesh


async def test_rollback_without_a_number_undoes_the_last_change(mesh: FakeMesh, run: RunMesh) -> None:
    await run("apply", "-f", "-", text=retry())
    first = await run("rollback")
    assert (first.code, "nothing to undo" in first.err) == (2, True)
    await run("apply", "-f", "-", text=retry(attempts=9))
    assert (await run("rollback")).out.splitlines() == ["revision 3", "changed Retry/inventory-retry"]
    assert mesh.store.revisions[3].documents == mesh.store.revisions[1].documents
    await run("rollback")
    assert mesh.store.revisions[4].documents == mesh.store.revisions[2].documents, "an undo can be undone"


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
