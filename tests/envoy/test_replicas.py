"""Replicas stop and start. A graceful stop loses no request, nor does a kill while calls are retried."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.cli.joining import joined
from tests.envoy.envoy_admin import envoy, stats
from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.mesh_api import api
from tests.envoy.steady_load import load

LEASE_TTL = 6.0
"""Seconds of a lease. Nothing dead is called for longer."""

SLACK = 6.0
"""Extra seconds: the control plane checks leases twice a second, on a machine that does other work, too."""

CALLERS = ("front-1", "front-2")

RETRY = """
apiVersion: meshwright.io/v1
kind: Retry
metadata: {name: pair}
spec: {targetRefs: [{kind: Service, name: pair}], attempts: 3, backoff: {base: 5ms, max: 50ms}}
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    services = [service("front", replicas=2), service("back", replicas=5), service("pair", replicas=2)]
    with running_mesh(tmp_path_factory.mktemp("replicas"), services) as running:
        assert running.get("front-1", "http://back/echo").status_code == 200
        running.apply(RETRY)
        for caller in CALLERS:
            assert running.get(caller, "http://pair/echo").status_code == 200
        yield running


def health(mesh: Mesh, service: str = "") -> dict[str, str]:
    """The health of all instances with a lease, or of those of one service."""
    instances = api(mesh, "/api/v1/instances").json()["instances"]
    return {
        instance["name"]: instance["health"] for instance in instances if service in ("", instance["service"])
    }


def callers_of(mesh: Mesh, port: int) -> list[str]:
    """The callers whose Envoys would send requests for `pair` to the sidecar at this port."""
    return [caller for caller in CALLERS if port in _healthy_ports(mesh, caller)]


def _healthy_ports(mesh: Mesh, caller: str) -> set[int]:
    clusters = json.loads(envoy(mesh, caller, "/clusters?format=json"))["cluster_statuses"]
    hosts = next(cluster.get("host_statuses", ()) for cluster in clusters if cluster["name"] == "pair")
    return {
        host["address"]["socket_address"]["port_value"]
        for host in hosts
        if host["health_status"]["eds_health_status"] == "HEALTHY"
    }


def endpoint_updates(mesh: Mesh, caller: str) -> int:
    """The number of endpoint updates for `pair` that a caller's Envoy has received."""
    return sum(stats(mesh, caller, r"^cluster\.pair\.update_success$").values())


def removed_and_added(mesh: Mesh, port: int, updates: dict[str, int]) -> bool:
    """Whether all callers can call the sidecar at this port, after two updates since `updates`."""
    return callers_of(mesh, port) == list(CALLERS) and all(
        endpoint_updates(mesh, caller) >= before + 2 for caller, before in updates.items()
    )


@contextlib.contextmanager
def no_failed_request(mesh: Mesh, folder: Path) -> Iterator[None]:
    """Two callers send fast and slow GETs to `pair` during the block; none of them fails."""
    with contextlib.ExitStack() as stack:
        results = [
            stack.enter_context(
                load(
                    folder,
                    f"http://127.0.0.1:{mesh.ports(caller)['outbound']}{path}",
                    "Host: pair",
                    connections=4,
                )
            )
            for caller, path in zip(CALLERS, ("/echo", "/delay?ms=100"), strict=True)
        ]
        mesh.reset("pair-1", "pair-2")
        until(lambda: mesh.counts("pair-1") and mesh.counts("pair-2"), "both replicas are called")
        yield
    for result in results:
        assert result.requests > 10 and result.failed == 0, result.report


@pytest.mark.parametrize("stopped", ["back-1", "back-2", "back-3"])
def test_replica_stopped_under_load_loses_no_request(mesh: Mesh, stopped: str, tmp_path: Path) -> None:
    outbound = f"http://127.0.0.1:{mesh.ports('front-1')['outbound']}"
    with (
        load(tmp_path, f"{outbound}/echo", "Host: back", connections=8) as fast,
        load(tmp_path, f"{outbound}/delay?ms=300", "Host: back", connections=8) as slow,
    ):
        until(lambda: mesh.counts(stopped).get("GET /delay", 0) > 5, f"{stopped} is called")
        mesh.stop_workload(stopped)
        assert stopped not in health(mesh)
        mesh.reset("back-4")
        until(lambda: mesh.counts("back-4").get("GET /delay", 0) > 5, "the others are called")
    for result in (fast, slow):
        assert result.requests > 10 and result.failed == 0, result.report


def test_killed_app_is_removed_within_its_lease_and_added_after_its_restart(mesh: Mesh) -> None:
    assert {"back-4", "back-5"} <= set(health(mesh, "back"))
    killed = mesh.pid("back-5")
    killed_at = time.monotonic()
    os.kill(killed, signal.SIGKILL)
    until(lambda: health(mesh)["back-5"] != "healthy", "the dead app is unhealthy", every=0.01)
    caller, successes = mesh.caller("front-1"), 0
    while successes < 30:
        ok = caller.get("http://back/echo", timeout=30).status_code == 200
        successes = successes + 1 if ok else 0
        assert successes or time.monotonic() - killed_at < LEASE_TTL + SLACK, "the dead app is still called"
    until(lambda: health(mesh)["back-5"] == "healthy", "the app is restarted")
    until(
        lambda: caller.get("http://back/echo", timeout=30).headers.get("x-served-by") == "back-5",
        "the new app is called",
    )
    assert mesh.pid("back-5") != killed


@pytest.mark.parametrize("process", ["pair-1", "pair-1.proxy"])
def test_killed_app_or_proxy_of_one_of_two_replicas_fails_no_request(
    mesh: Mesh, process: str, tmp_path: Path
) -> None:
    port, killed = mesh.ports("pair-1")["inbound"], mesh.pid(process)
    until(lambda: callers_of(mesh, port) == list(CALLERS), "all callers call it at first")
    updates = {caller: endpoint_updates(mesh, caller) for caller in CALLERS}
    with no_failed_request(mesh, tmp_path):
        os.kill(killed, signal.SIGKILL)
        until(lambda: removed_and_added(mesh, port, updates), "it is removed and added again", every=0.01)
        mesh.reset("pair-1")
        until(lambda: mesh.counts("pair-1"), "it is called again")
    assert mesh.pid(process) != killed
    assert health(mesh, "pair") == {"pair-1": "healthy", "pair-2": "healthy"}


@pytest.mark.parametrize("agent_dies", [True, False], ids=["with its agent", "while its agent hangs"])
def test_replica_that_cannot_report_its_death_is_removed_with_its_lease(
    mesh: Mesh, agent_dies: bool, tmp_path: Path
) -> None:
    name = "pair-9"
    with joined(mesh, name, "pair", "--port", "0", run=(sys.executable, "-m", "tests.fakes.app")) as third:
        port = third.port("inbound")
        until(lambda: callers_of(mesh, port) == list(CALLERS), "it is called")
        agent, proxy = psutil.Process(third.process.pid), third.pid("proxy")
        with no_failed_request(mesh, tmp_path):
            if agent_dies:
                third.kill()
            else:
                agent.suspend()
                os.kill(proxy, signal.SIGKILL)
            deadline = time.monotonic() + LEASE_TTL + SLACK
            until(lambda: not callers_of(mesh, port), "nothing calls it", within=LEASE_TTL + SLACK)
            remaining = deadline - time.monotonic()
            until(lambda: name not in health(mesh), "its lease has expired", within=remaining)
        if not agent_dies:
            agent.resume()
            until(lambda: callers_of(mesh, port) == list(CALLERS), "it is called again")


@pytest.mark.parametrize("called", [True, False], ids=["called", "idle"])
def test_replica_of_which_only_envoy_lives_is_removed_and_fails_no_request(
    mesh: Mesh, called: bool, tmp_path: Path
) -> None:
    """Its Envoy sends metrics and holds its stream, as that of a replica whose agent hangs does."""
    name = "pair-8"
    with joined(mesh, name, "pair", "--port", "0", run=(sys.executable, "-m", "tests.fakes.app")) as third:
        port = third.port("inbound")
        until(lambda: callers_of(mesh, port) == list(CALLERS), "it is called")
        proxy = psutil.Process(third.pid("proxy"))
        app = psutil.Process(third.pid("app"))
        with no_failed_request(mesh, tmp_path) if called else contextlib.nullcontext():
            third.process.kill()
            app.kill()
            until(lambda: name not in health(mesh), "its lease has ended")
            until(lambda: not callers_of(mesh, port), "nothing calls it")
        assert proxy.is_running()
        proxy.kill()
