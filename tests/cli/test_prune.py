"""`mesh apply --prune`: the files are all policies that have a label."""

from __future__ import annotations

import json

from tests.cli.conftest import RunMesh
from tests.cli.samples import retry
from tests.fakes.admin_server import FakeMesh


async def test_prune_deletes_what_has_the_label_and_is_in_no_file(mesh: FakeMesh, run: RunMesh) -> None:
    def labelled(name: str) -> str:
        return retry(name).replace("metadata:\n", "metadata:\n  labels: {team: shop}\n")

    await run("apply", "-f", "-", text="---\n".join([labelled("old"), labelled("kept"), retry("other")]))
    prune = ("apply", "-f", "-", "--prune", "--label", "team=shop")
    preview = await run(*prune, "--dry-run", text=labelled("kept"))
    assert "deleted Retry/old\n" in preview.out
    assert len(json.loads((await run("get", "retry", "-o", "json")).out)["items"]) == 3
    pruned = await run(*prune, text=labelled("kept"))
    assert pruned.out.splitlines()[1:] == ["unchanged Retry/kept", "deleted Retry/old"]
    names = {
        item["metadata"]["name"]
        for item in json.loads((await run("get", "retry", "-o", "json")).out)["items"]
    }
    assert names == {"kept", "other"}
    unlabelled = await run(*prune, text=retry("new"))
    assert (unlabelled.code, unlabelled.err.split(": add")[0]) == (
        2, "<stdin>:1: metadata.labels has no team: shop",
    )  # fmt: skip
    for wrong in (("--prune",), ("--label", "a=b"), ("--prune", "--label", "a")):
        assert (await run("apply", "-f", "-", *wrong, text=retry())).code == 2
