"""Outages of the control plane and of the store: calls succeed, leases stay, and nothing is pushed again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from meshwright.cli.http import call_api
from meshwright.control_plane.api import calls, errors
from meshwright.control_plane.api.errors import ApiError
from tests.envoy.envoy_admin import stats
from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.mesh_api import addresses, api, metrics, wait_until_synced
from tests.envoy.steady_load import LoadResult, load

OUTAGE = 10.0
"""Seconds of each outage: longer than a lease, which is 6 s."""

RECONNECT = 8.0
"""Seconds within which all sidecars reconnect. On an idle machine it takes less than one."""

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
    with running_mesh(folder, [service("front"), service("back", replicas=2)]) as running:
        running.apply(ROUTE)
        assert running.get("front-1", "http://back/echo").status_code == 200
        yield running


@pytest.fixture
def mesh(shared: Mesh) -> Mesh:
    """The shared mesh with all sidecars synced."""
    wait_until_synced(shared, NAMES)
    return shared


@contextlib.contextmanager
def traffic(mesh: Mesh, folder: Path) -> Iterator[tuple[LoadResult, LoadResult]]:
    """Load through the ingress and from service to service."""
    outbound = f"http://127.0.0.1:{mesh.ports('front-1')['outbound']}/echo"
    with (
        load(folder, f"http://127.0.0.1:{mesh.ingress_port}/echo") as outside,
        load(folder, outbound, "Host: back") as inside,
    ):
        yield outside, inside


@contextlib.contextmanager
def without_restarts(mesh: Mesh) -> Iterator[None]:
    """Suspend `mesh up`, so that it restarts nothing."""
    mesh.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        mesh.process.send_signal(signal.SIGCONT)


def kill_for_an_outage(mesh: Mesh, process: str) -> None:
    """Kill a process. `mesh up` restarts it only after the outage."""
    with without_restarts(mesh):
        os.kill(mesh.pid(process), signal.SIGKILL)
        time.sleep(OUTAGE)


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Suspend a process."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def assert_no_failed_request(*results: LoadResult) -> None:
    for result in results:
        assert result.requests > 200, result.report
        assert result.failed == 0, result.report


def update_counts(mesh: Mesh) -> dict[str, dict[str, int]]:
    """Updates from the control plane that each Envoy has received, by statistic; without secrets."""
    counts = {
        name: {
            key: value
            for key, value in stats(mesh, name, r"\.update_(success|rejected)$").items()
            if "sds" not in key
        }
        for name in sorted(NAMES)
    }
    assert all("cluster_manager.cds.update_success" in by_stat for by_stat in counts.values())
    return counts


def wait_until_listening(mesh: Mesh) -> float:
    """Wait until the xDS port accepts connections. Returns the time."""
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
def unaffected(mesh: Mesh, folder: Path) -> Iterator[None]:
    """During the block no request fails, no lease expires, and no Envoy receives an update."""
    before, expired = update_counts(mesh), mesh.log("control-plane").count("leases expired")
    with traffic(mesh, folder) as loads:
        yield
        wait_until_synced(mesh, NAMES)
        healthy = dict.fromkeys(NAMES - {"ingress"}, "healthy")
        until(lambda: instances(mesh) == healthy, f"every instance is healthy: {instances(mesh)}")
    assert_no_failed_request(*loads)
    assert mesh.log("control-plane").count("leases expired") == expired
    assert update_counts(mesh) == before


def pushes(mesh: Mesh) -> float:
    """Responses that the control plane has pushed since its start."""
    return sum(value for name, value in metrics(mesh).items() if name.startswith("mesh_xds_pushes_total"))


def test_control_plane_down_for_ten_seconds_affects_nothing(mesh: Mesh, tmp_path: Path) -> None:
    old = mesh.pid("control-plane")
    with unaffected(mesh, tmp_path):
        kill_for_an_outage(mesh, "control-plane")
        start = wait_until_listening(mesh)
        wait_until_synced(mesh, NAMES)
        took = time.monotonic() - start
    assert mesh.pid("control-plane") != old
    assert pushes(mesh) == 0
    assert took < RECONNECT
    absence = until(lambda: api(mesh, "/api/v1/status").json()["absence"], "the absence is known")
    assert absence["until"] - absence["since"] >= OUTAGE - 2, "a trace is left every two seconds"
    outages = until(lambda: api(mesh, "/api/v1/events?kind=outage").json()["events"], "the event is written")
    assert "the control plane was away for" in outages[0]["message"]


def test_control_plane_hanging_for_ten_seconds_affects_nothing(mesh: Mesh, tmp_path: Path) -> None:
    with unaffected(mesh, tmp_path), frozen(mesh.pid("control-plane")):
        time.sleep(OUTAGE)


def test_crashed_control_plane_is_restarted_at_once_and_affects_nothing(mesh: Mesh, tmp_path: Path) -> None:
    old = mesh.pid("control-plane")
    with unaffected(mesh, tmp_path):
        os.kill(old, signal.SIGKILL)
        until(lambda: pid_or_zero(mesh, "control-plane") not in (0, old), "another control plane runs")
        wait_until_listening(mesh)
    assert pushes(mesh) == 0
    until(
        lambda: any("control-plane" in line and "restarting" in line for line in [*mesh.output]),
        "mesh up reports the restart",
    )


def pid_or_zero(mesh: Mesh, process: str) -> int:
    """The pid of a child process; 0 while it does not run."""
    try:
        return mesh.pid(process)
    except (OSError, ValueError):
        return 0


def assert_changes_are_refused(mesh: Mesh) -> None:
    """`mesh status` shows a degraded store, and `mesh apply` fails with one line about it."""
    until(lambda: mesh.status()["store"] == "degraded", "the store is shown as degraded")
    refused = mesh.run("apply", "-f", "-", stdin=ANOTHER, check=False)
    assert refused.returncode == errors.FAILED, refused.stderr
    assert "store" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1, refused.stderr


def assert_nothing_changed(mesh: Mesh, revision: int) -> None:
    """The store is healthy again, and there is no new revision."""
    until(lambda: mesh.status()["store"] == "ok", "the store is reported healthy")
    assert json.loads(mesh.run("history", "-o", "json").stdout)["items"][0]["revision"] == revision
    assert mesh.run("get", "HTTPRoute", "another", check=False).returncode == errors.BAD_INPUT


def test_store_hanging_for_ten_seconds_affects_no_traffic(mesh: Mesh, tmp_path: Path) -> None:
    revision = mesh.status()["revision"]
    with unaffected(mesh, tmp_path):
        with frozen(mesh.pid("store")):
            start = time.monotonic()
            assert_changes_are_refused(mesh)
            time.sleep(max(0.0, start + OUTAGE - time.monotonic()))
        assert_nothing_changed(mesh, revision)


def test_store_down_for_ten_seconds_affects_no_traffic(mesh: Mesh, tmp_path: Path) -> None:
    revision = mesh.status()["revision"]
    with unaffected(mesh, tmp_path):
        with without_restarts(mesh):
            os.kill(mesh.pid("store"), signal.SIGKILL)
            start = time.monotonic()
            assert_changes_are_refused(mesh)
            time.sleep(max(0.0, start + OUTAGE - time.monotonic()))
        assert_nothing_changed(mesh, revision)
    assert mesh.apply(ANOTHER) == revision + 1
    assert mesh.outside("/echo").status_code == 200


def test_agent_hanging_for_ten_seconds_affects_nothing(mesh: Mesh, tmp_path: Path) -> None:
    """No lease is renewed meanwhile, but each Envoy shows that its instance works."""
    with unaffected(mesh, tmp_path), frozen(mesh.pid("agent")):
        until(lambda: "nothing supervises" in " ".join(mesh.status()["problems"]), "the status says so")
        time.sleep(OUTAGE)
    until(lambda: not mesh.status()["problems"], "the status no longer says so")
    until(lambda: "the agent of back-1 of back is back" in mesh.run("events").stdout, "an event says so")


def test_killed_agent_is_replaced_and_affects_nothing(mesh: Mesh, tmp_path: Path) -> None:
    processes = [name for workload in NAMES for name in (workload, f"{workload}.proxy") if name != "ingress"]
    before = {name: mesh.pid(name) for name in processes}
    old = mesh.pid("agent")
    with unaffected(mesh, tmp_path):
        os.kill(old, signal.SIGKILL)
        until(lambda: "went on with the processes" in mesh.log("agent"), "another agent goes on")
    assert {name: mesh.pid(name) for name in processes} == before


def test_restart_of_a_service_replaces_each_app_and_fails_no_request(mesh: Mesh, tmp_path: Path) -> None:
    before = {name: mesh.pid(name) for name in ("back-1", "back-2", "back-1.proxy", "back-2.proxy")}
    with traffic(mesh, tmp_path) as loads:
        done = json.loads(mesh.run("restart", "back", "-o", "json").stdout)
    assert_no_failed_request(*loads)
    assert [item["instance"] for item in done["restarted"]] == ["back-1", "back-2"]
    after = {name: mesh.pid(name) for name in before}
    assert {name for name in before if after[name] != before[name]} == {"back-1", "back-2"}


def test_restart_that_cannot_be_done_says_why(mesh: Mesh) -> None:
    missing = mesh.run("restart", "nope", check=False)
    assert (missing.returncode, "nope: no such service" in missing.stderr) == (errors.BAD_INPUT, True)
    gateway = call_error(mesh, calls.begin_restart("ingress/ingress"))
    assert "a gateway has no app" in gateway
    with without_health(mesh, "front-1"):
        late = mesh.run("restart", "front", "--timeout", "3s", check=False)
        assert late.returncode == errors.TIMED_OUT
        assert "front-1 (1 of 1): not healthy after 3 s" in late.stderr
        assert "no second healthy instance" in late.stderr


def call_error(mesh: Mesh, call: calls.ApiCall) -> str:
    """The message of the API's error."""
    with pytest.raises(ApiError) as raised:
        call_api(call, mesh.state)
    return str(raised.value)


@contextlib.contextmanager
def without_health(mesh: Mesh, name: str) -> Iterator[None]:
    """An app that starts and does not become healthy: something else has its port."""
    port, restarted = mesh.ports(name)["app.http"], threading.Event()

    def take() -> None:
        while not restarted.is_set():
            with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
                restarted.wait(60)

    thread = threading.Thread(target=take)
    thread.start()
    try:
        yield
    finally:
        restarted.set()
        thread.join(60)
        until(lambda: instances(mesh).get(name) == "healthy", f"{name} is healthy again")


def test_gateway_that_stops_is_not_ready_then_refuses_and_cuts_nothing(mesh: Mesh) -> None:
    """The last test of this file: it stops the ingress."""
    ready = mesh.ports("ingress")["ready"]
    url = f"http://127.0.0.1:{mesh.ingress_port}/delay?ms=300"
    outcomes: list[str] = []
    readiness: list[int] = []
    stopped = threading.Event()

    def call() -> None:
        while not stopped.is_set():
            try:
                outcomes.append(str(requests.post(url, timeout=30).status_code))
            except requests.ConnectionError as error:
                outcomes.append("refused" if "refused" in str(error) else repr(error))

    def watch() -> None:
        while not stopped.is_set():
            with contextlib.suppress(requests.ConnectionError):
                readiness.append(requests.get(f"http://127.0.0.1:{ready}/ready", timeout=30).status_code)

    threads = [threading.Thread(target=target) for target in (watch, *(call for _ in range(12)))]
    for thread in threads:
        thread.start()
    until(lambda: len(outcomes) > 50, "load")
    mesh.stop_workload("ingress")
    stopped.set()
    for thread in threads:
        thread.join(60)
    assert set(outcomes) == {"200", "refused"}, set(outcomes)
    assert set(readiness) == {200, 503}
    assert readiness == sorted(readiness)
