"""The verdict of `mesh status`, and `mesh forget`."""

from __future__ import annotations

import json

from meshwright.control_plane.api.models.status import Status, VersionSkew
from meshwright.control_plane.api.models.verdict import MeshProblem, Verdict
from meshwright.control_plane.api.software_version import VERSION
from tests.cli.conftest import RunMesh
from tests.fakes.admin_server import FakeMesh


async def test_status_begins_with_the_verdict_and_check_fails_if_there_is_a_problem(
    mesh: FakeMesh, run: RunMesh
) -> None:
    mesh.status = Status(revision=0, store="ok", verdict=Verdict(summary="healthy: 1 service"))
    result = await run("status", "--check")
    assert (result.code, result.out.splitlines()[0]) == (0, "● healthy: 1 service")
    fault = MeshProblem(severity="warning", kind="fault", subject="a", message="a fault", cause="slow")
    failing = MeshProblem(severity="error", kind="traffic", subject="a", message="100 % of 3.2/s fail")
    mesh.status = Status(revision=0, store="ok", verdict=Verdict(healthy=False, problems=(failing, fault)))
    result = await run("status", "--check")
    assert (result.code, result.out.splitlines()[:3]) == (
        1, ["× a: 100 % of 3.2/s fail (and 1 more)", "  × a: 100 % of 3.2/s fail", "  ▲ a: a fault: slow"],
    )  # fmt: skip
    assert (await run("status")).code == 0
    as_json = await run("status", "--check", "-o", "json")
    assert (as_json.code, json.loads(as_json.out)["verdict"]["healthy"]) == (1, False)


async def test_status_names_the_worst_difference_of_versions_in_one_line(
    mesh: FakeMesh, run: RunMesh
) -> None:
    mesh.status = Status(revision=0, store="ok", version=VERSION)
    assert "version" not in (await run("status")).out
    skew = VersionSkew(
        supported=True, message=f"agent of a/a-1: version 0.0.9, the control plane has {VERSION}"
    )
    mesh.status = Status(revision=0, store="ok", version=VERSION, skews=(skew,))
    shown = await run("status", "--check")
    assert (shown.code, f"▲ {skew.message}: see `mesh version`" in shown.out.splitlines()) == (0, True)
    assert json.loads((await run("status", "-o", "json")).out)["skews"] == [skew.model_dump()]
    mesh.status = Status(revision=0, store="ok", version="99.0.0", skews=(skew,))
    line = next(line for line in (await run("status")).out.splitlines() if "version" in line)
    assert line == (
        f"× client: version {VERSION}, the control plane has 99.0.0, more than one minor version apart, "
        "which is not supported; 1 more: see `mesh version`"
    )


async def test_forget_removes_a_service(mesh: FakeMesh, run: RunMesh) -> None:
    result = await run("forget", "gone")
    assert (result.code, result.out, mesh.forgotten) == (0, "service gone forgotten\n", ["gone"])
    result = await run("forget", "orders")
    assert (result.code, result.err) == (2, "service orders: not found\n")
