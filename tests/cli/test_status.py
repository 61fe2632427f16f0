"""The verdict of `mesh status`, and `mesh forget`."""

from __future__ import annotations

import json

from meshwright.control_plane.api.models.policies import Condition, PolicyStatus
from meshwright.control_plane.api.models.proxies import ProxyStatus
from meshwright.control_plane.api.models.status import ServiceStatus, Status, VersionSkew
from meshwright.control_plane.api.models.verdict import MeshProblem, Verdict
from meshwright.control_plane.api.software_version import VERSION
from tests.cli.conftest import RunMesh
from tests.fakes.admin_server import FakeMesh

LISTED = (
    {"failing", "noted"}
    | {f"s{i}" for i in range(7)}
    | {f"{x}{i}" for x in ("p", "Retry/r") for i in range(9)}
)


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


async def test_status_counts_what_is_in_order_where_a_table_would_be_long(
    mesh: FakeMesh, run: RunMesh
) -> None:
    good = Condition(type="Accepted", status="True", reason="Accepted")
    bad = Condition(type="Programmed", status="False", reason="Pending", message="2 of 3 sidecars")
    services = [ServiceStatus(name=f"s{i}", instances=1, healthy=1, health="healthy") for i in range(7)]
    mesh.status = Status(
        revision=0,
        store="ok",
        services=(
            *services,
            ServiceStatus(name="failing", instances=1, healthy=0, health="unhealthy"),
            ServiceStatus(name="noted", instances=1, healthy=1, health="healthy", reason="restarts often"),
        ),
        policies=tuple(
            PolicyStatus(kind="Retry", name=f"r{i}", state="programmed", conditions=(good, *extra))
            for i, extra in enumerate([(bad,), *[()] * 8])
        ),
    )
    mesh.proxies = tuple(
        ProxyStatus(name=f"p{i}", service="s0", state="pending" if i == 3 else "synced", revision=1)
        for i in range(9)
    )
    lines = (await run("status")).out.splitlines()
    assert {line.split()[0] for line in lines if line} & LISTED == {"failing", "noted", "p3", "Retry/r0"}
    assert [line for line in lines if "--all" in line] == [
        "● 7 services healthy: `mesh status --all` lists them",
        "● 8 proxies synced: `mesh status --all` lists them",
        "● 8 policies programmed: `mesh status --all` lists them",
    ]
    lines = (await run("status", "--all")).out.splitlines()
    assert ({line.split()[0] for line in lines if line} & LISTED, "--all" in "".join(lines)) == (
        LISTED,
        False,
    )
    mesh.status = mesh.status.model_copy(update={"services": mesh.status.services[:8], "policies": ()})
    lines = (await run("status")).out.splitlines()
    assert {"s0", "failing"} <= {line.split()[0] for line in lines if line}, "eight are listed"


async def test_forget_removes_a_service(mesh: FakeMesh, run: RunMesh) -> None:
    result = await run("forget", "gone")
    assert (result.code, result.out, mesh.forgotten) == (0, "service gone forgotten\n", ["gone"])
    result = await run("forget", "orders")
    assert (result.code, result.err) == (2, "service orders: not found\n")
