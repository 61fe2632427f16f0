"""Replicas come and go: a graceful stop loses no request, nor does what is killed while calls are retried."""

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
from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.observe import api, envoy, load, stats

LEASE = 6.0
"""Seconds of a lease: nothing dead is called for longer."""

SLACK = 6.0
"""Seconds more: leases are looked through twice a second, on a machine that does other things too."""

CALLERS = ("front-1", "front-2")

RETRY = """
apiVersion: meshwright.io/v1
kind: Retry
metadata: {name: pair}
spec: {targetRefs: [{kind: Service, name: pair}], attempts: 3, backoff: {base: 5ms, max: 50ms}}
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    apps = [service("front", replicas=2), service("back", replicas=5), service("pair", replicas=2)]
    with running_mesh(tmp_path_factory.mktemp("replicas"), apps) as actual_mesh:
        assert actual_mesh.get("front-1", "http://back/echo").status_code == 200
        actual_mesh.apply(RETRY)
        for text in CALLERS:
            assert actual_mesh.get(text, "http://pair/echo").status_code == 200
        yield actual_mesh


def health(mesh: Mesh, of: str = "") -> dict[str, str]:
    """The health of every instance that has a lease, or of those of one service."""
    instances = api(mesh, "/api/v1/instances").json()["instances"]
    return {item["name"]: item["health"] for item in instances if of in ("", item["service"])}


def called(mesh: Mesh, port: int) -> list[str]:
    """Which callers' Envoys would send requests for `pair` to the sidecar at this port."""
    return [text for text in CALLERS if port in _endpoints(mesh, text)]


def _endpoints(mesh: Mesh, caller: str) -> set[int]:
    clusters = json.loads(envoy(mesh, caller, "/clusters?format=json"))["cluster_statuses"]
    hosts = next(cluster.get("host_statuses", ()) for cluster in clusters if cluster["name"] == "pair")
    return {
        host["address"]["socket_address"]["port_value"]
        for host in hosts
        if host["health_status"]["eds_health_status"] == "HEALTHY"
    }


def updates(mesh: Mesh, caller: str) -> int:
    """How often a caller's Envoy was told of the instances of `pair`."""
    return sum(stats(mesh, caller, r"^cluster\.pair\.update_success$").values())


def out_and_back(mesh: Mesh, port: int, counts: dict[str, int]) -> bool:
    """Whether every caller may call the sidecar at this port, and was told otherwise in between."""
    return called(mesh, port) == list(CALLERS) and all(
        updates(mesh, caller) >= before + 2 for caller, before in counts.items()
    )


@contextlib.contextmanager
def no_failed_request(mesh: Mesh, folder: Path) -> Iterator[None]:
    """GETs of `pair` by two callers while the block runs, quick and slow ones; none of them fails."""
    with contextlib.ExitStack() as stack:
        loads = [
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
        until(lambda: mesh.counts("pair-1") and mesh.counts("pair-2"), "both are called")
        yield
    for current_load in loads:
        assert current_load.requests > 10 and current_load.bad == 0, current_load.report


@pytest.mark.parametrize("leaving", ["back-1", "back-2", "back-3"])
def test_a_replica_that_is_stopped_under_load_loses_no_request(
    mesh: Mesh, leaving: str, tmp_path: Path
) -> None:
    outbound = f"http://127.0.0.1:{mesh.ports('front-1')['outbound']}"
    with (
        load(tmp_path, f"{outbound}/echo", "Host: back", connections=8) as quick,
        load(tmp_path, f"{outbound}/delay?ms=300", "Host: back", connections=8) as slow,
    ):
        until(lambda: mesh.counts(leaving).get("GET /delay", 0) > 5, f"{leaving} is called")
        mesh.stop_workload(leaving)
        assert leaving not in health(mesh)
        mesh.reset("back-4")
        until(lambda: mesh.counts("back-4").get("GET /delay", 0) > 5, "the others are called")
    for item in (quick, slow):
        assert item.requests > 10 and item.bad == 0, item.report


def test_a_killed_app_is_taken_out_within_its_lease_and_comes_back(mesh: Mesh) -> None:
    assert {"back-4", "back-5"} <= set(health(mesh, "back"))
    killed = mesh.pid("back-5")
    began = time.monotonic()
    os.kill(killed, signal.SIGKILL)
    until(lambda: health(mesh)["back-5"] != "healthy", "the dead app is taken out", every=0.01)
    caller, row = mesh.caller("front-1"), 0
    while row < 30:
        row = row + 1 if caller.get("http://back/echo", timeout=30).status_code == 200 else 0
        assert row or time.monotonic() - began < LEASE + SLACK, "the dead app is still called"
    until(lambda: health(mesh)["back-5"] == "healthy", "the app is started again")
    until(
        lambda: caller.get("http://back/echo", timeout=30).headers.get("x-served-by") == "back-5",
        "the new app is called",
    )
    assert mesh.pid("back-5") != killed


@pytest.mark.parametrize("part", ["pair-1", "pair-1.proxy"])
def test_a_killed_app_or_sidecar_of_one_of_two_replicas_fails_no_request(
    mesh: Mesh, part: str, tmp_path: Path
) -> None:
    port, killed = mesh.ports("pair-1")["inbound"], mesh.pid(part)
    until(lambda: called(mesh, port) == list(CALLERS), "it is called to begin with")
    counts = {caller: updates(mesh, caller) for caller in CALLERS}
    with no_failed_request(mesh, tmp_path):
        os.kill(killed, signal.SIGKILL)
        until(
            lambda: out_and_back(mesh, port, counts), "it is taken out, and may be called again", every=0.01
        )
        mesh.reset("pair-1")
        until(lambda: mesh.counts("pair-1"), "it is called again")
    assert mesh.pid(part) != killed
    assert health(mesh, "pair") == {"pair-1": "healthy", "pair-2": "healthy"}


@pytest.mark.parametrize("whole", [True, False], ids=["with its agent", "while its agent hangs"])
def test_a_replica_that_cannot_say_that_it_died_is_gone_when_its_lease_is(
    mesh: Mesh, flag: bool, tmp_path: Path
) -> None:
    name = "pair-9"
    with joined(mesh, name, "pair", "--port", "0", run=(sys.executable, "-m", "tests.fakes.app")) as third:
        port = third.port("inbound")
        until(lambda: called(mesh, port) == list(CALLERS), "it is called")
        agent, proxy = psutil.Process(third.process.pid), third.pid("proxy")
        with no_failed_request(mesh, tmp_path):
            if flag:
                _kill(agent)
            else:
                agent.suspend()
                os.kill(proxy, signal.SIGKILL)
            within = time.monotonic() + LEASE + SLACK
            until(lambda: not called(mesh, port), "nobody calls it", within=LEASE + SLACK)
            until(lambda: name not in health(mesh), "its lease is over", within=within - time.monotonic())
        if not flag:
            agent.resume()
            until(lambda: called(mesh, port) == list(CALLERS), "it is called again")


def _kill(agent: psutil.Process) -> None:
    """End an agent and all that it started, the agent first: it must not tell anybody."""
    family = [agent, *agent.children(recursive=True)]
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
