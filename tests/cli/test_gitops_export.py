"""`mesh export` and `mesh apply --prune --expect-revision`: a folder that is all policies of a mesh."""

from __future__ import annotations

import json
from pathlib import Path

from meshwright.cli.gitops.export import file_name
from meshwright.control_plane.policies import registry
from tests.cli.conftest import RunMesh
from tests.cli.samples import retry
from tests.fakes.admin_server import FakeMesh


async def test_an_export_of_every_kind_is_applied_without_any_change(
    mesh: FakeMesh, run: RunMesh, tmp_path: Path
) -> None:
    examples = [registry.example(kind) for kind in registry.kinds()]
    await run("apply", "-f", "-", text="---\n".join(examples))
    exported = await run("export", "out")
    head, *lines = exported.out.splitlines()
    assert (exported.code, head) == (0, "revision 1"), exported.err
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert lines == [f"wrote out/{name}" for name in names]
    assert len(names) == len(registry.kinds())
    assert "BasicAuthentication/operators: its secret is not written" in exported.err
    assert "meshwright.io/rollout-" not in (tmp_path / "out" / "rollout-inventory-v2.yaml").read_text()
    applied = await run("apply", "-f", "out", "--prune", "--expect-revision", "1", "-o", "json")
    result = json.loads(applied.out)
    assert result["revision"] == 1
    assert {change["action"] for change in result["changed"]} == {"unchanged"}
    assert (await run("export", "out")).code == 0, "the same files again need no --force"


async def test_prune_without_labels_replaces_exactly_the_expected_revision(
    mesh: FakeMesh, run: RunMesh
) -> None:
    await run("apply", "-f", "-", text="---\n".join([retry("kept"), retry("old")]))
    prune = ("apply", "-f", "-", "--prune", "--expect-revision", "1")
    preview = await run(*prune, "--dry-run", text=retry("kept"))
    assert preview.out.startswith("revision 1 (dry run"), preview.err
    pruned = await run(*prune, text=retry("kept"))
    assert pruned.out.splitlines() == ["revision 2", "unchanged Retry/kept", "deleted Retry/old"]
    moved = await run(*prune, text=retry("kept"))
    assert (moved.code, "no longer the newest (2 is)" in moved.err) == (6, True), moved.err


async def test_an_export_overwrites_and_removes_only_with_force_and_only_its_own(
    mesh: FakeMesh, run: RunMesh, tmp_path: Path
) -> None:
    await run("apply", "-f", "-", text="---\n".join([retry("a"), retry("b")]))
    await run("export", "out")
    folder = tmp_path / "out"
    mine = folder / "mine.yaml"
    mine.write_text(retry("b"))
    await run("delete", "retry/b")
    await run("apply", "-f", "-", text=retry("a").replace("attempts: 2", "attempts: 3"))
    refused = await run("export", "out")
    assert (refused.code, refused.out) == (2, "")
    assert "retry-a.yaml: already exists" in refused.err
    assert (folder / "retry-b.yaml").exists()
    forced = await run("export", "out", "--force", "-o", "json")
    assert json.loads(forced.out) == {
        "revision": 3, "files": ["out/retry-a.yaml"], "removed": ["out/retry-b.yaml"],
    }  # fmt: skip
    assert (sorted(path.name for path in folder.iterdir()), mine.read_text()) == (
        ["mine.yaml", "retry-a.yaml"], retry("b"),
    )  # fmt: skip


def test_long_names_fit_into_a_file_system() -> None:
    names = {file_name({"kind": "Retry", "metadata": {"name": "a" * 250 + end}}) for end in "bc"}
    assert len(names) == 2
    assert all(len(name) <= 255 for name in names)
