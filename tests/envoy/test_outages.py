"""Control plane and store go away and come back: calls go on, no lease ends, nothing is sent again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshwright.control_plane.api import errors
from tests.envoy.envoy_admin import stats
from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.mesh_api import addresses, api, metrics, wait_until_synced
from tests.envoy.steady_load import LoadResult, load

AWAY = 10.0
"""Seconds of each outage: more than a lease's six."""

BACK = 8.0
"""Seconds within which every sidecar is connected again: within one, but for what else a machine does."""

NAMES = {"ingress", "front-1", "back-1", "back-2"}

ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: front}
spec:
  parentRefs: [{kind: Gateway, name: ingress}]
  rules: [{backendRefs: [{name: front}]}]
"""

ANOTHER = ROUTE.replace("name: front}\nspec", "name: another}\nspec")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    folder = tmp_path_factory.mktemp("outages")
    with running_mesh(folder, [service("front"), service("back", replicas=2)]) as actual_mesh:
        actual_mesh.apply(ROUTE)
        assert actual_mesh.get("front-1", "http://back/echo").status_code == 200
        yield actual_mesh


@pytest.fixture
def mesh(shared: Mesh) -> Mesh:
    """The mesh as every test wants to find it."""
    wait_until_synced(shared, NAMES)
    return shared


@contextlib.contextmanager
def traffic(mesh: Mesh, folder: Path) -> Iterator[tuple[LoadResult, LoadResult]]:
    """Calls from outside and from service to service, at once."""
    outbound = f"http://127.0.0.1:{mesh.ports('front-1')['outbound']}/echo"
    with (
        load(folder, f"http://127.0.0.1:{mesh.ingress_port}/echo") as outside,
        load(folder, outbound, "Host: back") as inside,
    ):
        yield outside, inside


@contextlib.contextmanager
def nobody_restarts(mesh: Mesh) -> Iterator[None]:
    """Keep `mesh up` from starting again what ends."""
    mesh.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        mesh.process.send_signal(signal.SIGCONT)


def away(mesh: Mesh, part: str) -> None:
    """Kill a part and have it gone for the time of an outage; `mesh up` then starts it again."""
    with nobody_restarts(mesh):
        os.kill(mesh.pid(part), signal.SIGKILL)
        time.sleep(AWAY)


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process that is there and does nothing."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def no_failed_request(*loads: LoadResult) -> None:
    for current_load in loads:
        assert current_load.requests > 200, current_load.report
        assert current_load.failed == 0, current_load.report


def taken(mesh: Mesh) -> dict[str, dict[str, int]]:
    """How many updates each Envoy has taken in, of anything the control plane sends."""
    countses = {
        name: {
            key: value
            for key, value in stats(mesh, name, r"\.update_(success|rejected)$").items()
            if "sds" not in key
        }
        for name in sorted(NAMES)
    }
    assert all("cluster_manager.cds.update_success" in counts for counts in countses.values())
    return countses


def listens(mesh: Mesh) -> float:
    """The moment at which the xDS port accepts connections again."""
    host, _, port = addresses(mesh).xds.rpartition(":")

    def connected() -> bool:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return True
        return False

    until(connected, "the control plane listens", every=0.01)
    return time.monotonic()


def instances(mesh: Mesh) -> dict[str, str]:
    return {
        instance["name"]: instance["health"]
        for instance in api(mesh, "/api/v1/instances").json()["instances"]
    }


@contextlib.contextmanager
def not_missed(mesh: Mesh, folder: Path) -> Iterator[None]:
    """Whatever happens meanwhile: no request fails, no lease ends, and no Envoy is sent anything again."""
    before, ended = taken(mesh), mesh.log("control-plane").count("leases ended")
    with traffic(mesh, folder) as loads:
        yield
        wait_until_synced(mesh, NAMES)
        healthy = dict.fromkeys(NAMES - {"ingress"}, "healthy")
        until(lambda: instances(mesh) == healthy, f"every instance is healthy: {instances(mesh)}")
    no_failed_request(*loads)
    assert mesh.log("control-plane").count("leases ended") == ended
    assert taken(mesh) == before


def pushes(mesh: Mesh) -> float:
    """Responses that the running control plane has sent since its start."""
    return sum(value for name, value in metrics(mesh).items() if name.startswith("mesh_xds_pushes_total"))


def test_a_control_plane_that_is_gone_for_ten_seconds_is_not_missed(mesh: Mesh, tmp_path: Path) -> None:
    old = mesh.pid("control-plane")
    with not_missed(mesh, tmp_path):
        away(mesh, "control-plane")
        began = listens(mesh)
        wait_until_synced(mesh, NAMES)
        took = time.monotonic() - began
    assert mesh.pid("control-plane") != old
    assert pushes(mesh) == 0
    assert took < BACK


def test_a_control_plane_that_hangs_for_ten_seconds_is_not_missed(mesh: Mesh, tmp_path: Path) -> None:
    with not_missed(mesh, tmp_path), frozen(mesh.pid("control-plane")):
        time.sleep(AWAY)


def test_a_control_plane_that_crashes_is_started_again_at_once(mesh: Mesh, tmp_path: Path) -> None:
    old = mesh.pid("control-plane")
    with not_missed(mesh, tmp_path):
        os.kill(old, signal.SIGKILL)
        until(lambda: alive(mesh, "control-plane") not in (0, old), "another control plane runs")
        listens(mesh)
    assert pushes(mesh) == 0
    until(
        lambda: any("control-plane" in line and "started again" in line for line in [*mesh.output]),
        "it is said",
    )


def alive(mesh: Mesh, part: str) -> int:
    """The pid of a part; 0 while it has none."""
    try:
        return mesh.pid(part)
    except (OSError, ValueError):
        return 0


def refuses_to_apply(mesh: Mesh) -> None:
    """While the store is away: said so by `mesh status`, and by an apply that changes nothing."""
    until(lambda: mesh.status()["store"] == "degraded", "the store is shown as degraded")
    refused = mesh.run("apply", "-f", "-", stdin=ANOTHER, check=False)
    assert refused.returncode == errors.FAILED, refused.stderr
    assert "store" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1, refused.stderr


def changed_nothing(mesh: Mesh, revision: int) -> None:
    """Afterwards: the store is healthy, and there is no new revision."""
    until(lambda: mesh.status()["store"] == "ok", "the store is reported healthy")
    assert json.loads(mesh.run("history", "-o", "json").stdout)[0]["revision"] == revision
    assert mesh.run("get", "HTTPRoute", "another", check=False).returncode == errors.BAD_INPUT


def test_a_store_that_hangs_for_ten_seconds_is_not_missed(mesh: Mesh, tmp_path: Path) -> None:
    revision = mesh.status()["revision"]
    with not_missed(mesh, tmp_path):
        with frozen(mesh.pid("store")):
            began = time.monotonic()
            refuses_to_apply(mesh)
            time.sleep(max(0.0, began + AWAY - time.monotonic()))
        changed_nothing(mesh, revision)


def test_a_store_that_is_gone_for_ten_seconds_is_not_missed(mesh: Mesh, tmp_path: Path) -> None:
    revision = mesh.status()["revision"]
    with not_missed(mesh, tmp_path):
        with nobody_restarts(mesh):
            os.kill(mesh.pid("store"), signal.SIGKILL)
            began = time.monotonic()
            refuses_to_apply(mesh)
            time.sleep(max(0.0, began + AWAY - time.monotonic()))
        changed_nothing(mesh, revision)
    assert mesh.apply(ANOTHER) == revision + 1
    assert mesh.outside("/echo").status_code == 200
