"""`mesh lint`, and its findings in `mesh diff`."""

from __future__ import annotations

import json
from pathlib import Path

from meshwright.control_plane.api.models.lint import LintFinding
from tests.cli.conftest import RunMesh
from tests.cli.samples import retry
from tests.fakes.admin_server import FakeMesh

FINDING = LintFinding(
    rule="cut-calls",
    severity="error",
    policies=("Authorization/a", "Authorization/b"),
    message="no more calls",
)
LINE = "error: no more calls (cut-calls: Authorization/a, Authorization/b)"


async def test_lint_prints_findings_and_exits_1(mesh: FakeMesh, run: RunMesh) -> None:
    nothing = await run("lint")
    assert (nothing.code, nothing.out) == (
        0,
        "no findings: revision 7, by the calls of the last 60m\n",
    )
    mesh.findings = (FINDING,)
    result = await run("lint")
    assert (result.code, result.out, result.err) == (1, f"{LINE}\n", "")
    data = await run("lint", "-o", "json")
    assert (data.code, json.loads(data.out)["findings"][0]["rule"]) == (1, "cut-calls")


async def test_diff_shows_the_findings_of_a_change(mesh: FakeMesh, run: RunMesh) -> None:
    mesh.findings = (FINDING,)
    result = await run("diff", "-f", "-", text=retry())
    assert result.out.splitlines()[1:4] == ["created Retry/inventory-retry", LINE, ""]


async def test_findings_name_the_line_of_each_policy_that_is_known(
    mesh: FakeMesh, run: RunMesh, tmp_path: Path
) -> None:
    file = tmp_path / "retry.yaml"
    file.write_text(retry())
    policies = ("Retry/inventory-retry", "Authorization/b")
    mesh.findings = (FINDING.model_copy(update={"policies": policies}),)
    where = f"(cut-calls: Retry/inventory-retry at {file}:1, Authorization/b)"
    assert where in (await run("diff", "-f", str(file))).out
    await run("apply", "-f", str(file))
    assert where in (await run("lint")).out
