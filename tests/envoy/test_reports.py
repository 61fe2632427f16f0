"""What sidecars tell of themselves, with real Envoys: breakers, versions, certificates, configs."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from ruamel.yaml import YAML

from tests.envoy.harness import Mesh, running_mesh, service, until

SHOWN = 3.0
"""Seconds within which a breaker's change is to be seen; of a few times once, for a machine may be busy."""

LATEST = 30.0
"""Seconds within which it must be seen each time."""

TIMES = 4

BREAKER = """
apiVersion: meshwright.io/v1
kind: CircuitBreaker
metadata: {name: %s}
spec: {targetRefs: [{kind: Service, name: %s}], %s}
"""
OPENS = BREAKER % ("back", "back", "consecutiveFailures: 5, openFor: 12s")
TURNS = """
apiVersion: meshwright.io/v1
kind: LoadBalancer
metadata: {name: back}
spec: {targetRefs: [{kind: Service, name: back}], algorithm: RoundRobin}
"""
LIMITS = BREAKER % ("slow", "slow", "maxRequests: 2")


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    services = [service("front"), service("back", replicas=2), service("slow"), service("free")]
    with running_mesh(tmp_path_factory.mktemp("mesh"), services) as actual_mesh:
        actual_mesh.apply("---".join((OPENS, LIMITS, TURNS)))
        for name in ("back", "slow", "free"):
            assert actual_mesh.get("front-1", f"http://{name}/echo").status_code == 200
        yield actual_mesh


def api(mesh: Mesh, path: str) -> Any:
    """GET from the admin API: sooner than a command that has to start."""
    url = json.loads((mesh.state / "mesh.json").read_text())["admin"]
    token = (mesh.state / "admin.token").read_text().strip()
    response = requests.get(f"{url}/api/v1/{path}", headers={"Authorization": f"Bearer {token}"}, timeout=10)
    response.raise_for_status()
    return response.json()


def breakers(mesh: Mesh) -> dict[str, dict[str, Any]]:
    """The breakers of front's edges by callee."""
    return {
        breaker["to"]: breaker for breaker in api(mesh, "status")["breakers"] if breaker["from"] == "front"
    }


def shown(mesh: Mesh, to: str, state: str) -> dict[str, Any]:
    """The breaker once it is in that state."""

    def found() -> dict[str, Any] | None:
        item = breakers(mesh).get(to, {})
        return item if item.get("state") == state else None

    value: dict[str, Any] = until(found, f"{to} is {state}", LATEST)
    return value


def delay(mesh: Mesh, state: str, ejected: int) -> float:
    """Seconds from when front's Envoy has so many instances of back ejected to when that is shown."""
    port = mesh.ports("front-1")["ready"]
    name = 'envoy_cluster_outlier_detection_ejections_active{envoy_cluster_name="back"}'
    values: list[float] = []

    def both() -> bool:
        text = "" if values else requests.get(f"http://127.0.0.1:{port}/stats/prometheus", timeout=10).text
        lines = [line for line in text.splitlines() if line.startswith(name)]
        if lines and float(lines[0].split()[-1]) == ejected:
            values.append(time.monotonic())
        return bool(values) and breakers(mesh)["back"]["state"] == state

    until(both, f"{ejected} ejected, and the breaker {state}", LATEST, every=0.02)
    return time.monotonic() - values[0]


def test_every_edge_with_a_breaker_is_listed_and_closed(mesh: Mesh) -> None:
    until(lambda: {"back", "slow"} <= breakers(mesh).keys(), "both edges are known")
    actual_breakers = breakers(mesh)
    assert actual_breakers.keys() == {"back", "slow"}
    assert actual_breakers["back"] == {
        "from": "front", "to": "back", "state": "closed", "ejected": 0, "hosts": 2, "limited": False,
    }  # fmt: skip


def test_a_breaker_is_seen_to_open_and_to_close_within_three_seconds(mesh: Mesh) -> None:
    until(lambda: breakers(mesh)["back"]["state"] == "closed", "closed to begin with")
    delays: list[float] = []
    while not delays or (min(delays) >= SHOWN and len(delays) < TIMES):
        if delays:
            shown(mesh, "back", "closed")
        for _ in range(12):  # each instance fails five times in a row
            mesh.get("front-1", "http://back/status/500")
        delays.append(delay(mesh, "open", 2))
    assert min(delays) < SHOWN, delays
    actual_shown = shown(mesh, "back", "open")
    assert (actual_shown["ejected"], actual_shown["hosts"]) == (2, 2)
    assert mesh.get("front-1", "http://back/echo").status_code == 503
    assert "back" in mesh.run("status").stdout.partition("BREAKER")[2]

    assert delay(mesh, "closed", 0) < LATEST
    assert mesh.get("front-1", "http://back/echo").status_code == 200
    assert shown(mesh, "back", "closed")["ejected"] == 0
    assert "BREAKER" not in mesh.run("status").stdout


def test_one_ejected_instance_of_two_is_partial(mesh: Mesh) -> None:
    shown(mesh, "back", "closed")
    until(lambda: mesh.get("front-1", "http://back/echo").headers["x-served-by"] == "back-1", "its turn")
    for _ in range(5):  # taking turns, every failure is back-2's
        assert mesh.get("front-1", "http://back/status/500").headers["x-served-by"] == "back-2"
        assert mesh.get("front-1", "http://back/echo").headers["x-served-by"] == "back-1"
    actual_shown = shown(mesh, "back", "partial")
    assert (actual_shown["ejected"], actual_shown["hosts"]) == (1, 2)
    assert mesh.get("front-1", "http://back/echo").status_code == 200
    until(lambda: mesh.get("front-1", "http://back/echo").headers["x-served-by"] == "back-2", "it is back")
    shown(mesh, "back", "closed")


def test_a_limit_that_is_reached_is_open_while_it_lasts(mesh: Mesh) -> None:
    until(lambda: breakers(mesh)["slow"]["state"] == "closed", "closed to begin with")
    asking = [
        threading.Thread(target=mesh.get, args=("front-1", "http://slow/delay?ms=12000"), daemon=True)
        for _ in range(2)
    ]
    for thread in asking:
        thread.start()
    actual_shown = shown(mesh, "slow", "open")
    assert (actual_shown["limited"], actual_shown["ejected"], actual_shown["hosts"]) == (True, 0, 1)
    refused = mesh.get("front-1", "http://slow/echo")
    assert (refused.status_code, refused.headers.get("x-envoy-overloaded")) == (503, "true")
    for thread in asking:
        thread.join(30)
    assert not shown(mesh, "slow", "closed")["limited"]


def test_a_short_burst_over_a_limit_is_seen_too(mesh: Mesh) -> None:
    until(lambda: breakers(mesh)["slow"]["state"] == "closed", "closed to begin with")
    callers = [mesh.caller("front-1") for _ in range(20)]
    with ThreadPoolExecutor(len(callers)) as pool:
        futures = [pool.submit(caller.get, "http://slow/delay?ms=300", timeout=30) for caller in callers]
        shown(mesh, "slow", "open")
    assert {future.result().status_code for future in futures} == {200, 503}
    shown(mesh, "slow", "closed")


def test_every_proxy_tells_of_itself(mesh: Mesh) -> None:
    def told() -> bool:
        return all(proxy["reported"] for proxy in api(mesh, "proxies")["proxies"])

    until(told, "every sidecar and the gateway report")
    result = {proxy["name"]: proxy for proxy in api(mesh, "proxies")["proxies"]}
    assert result.keys() == {"front-1", "back-1", "back-2", "slow-1", "free-1", "ingress"}
    for item in result.values():
        assert item["version"].startswith("1.")
        assert item["memory"] > 1_000_000
        assert 0 < item["expires"] - time.time() <= 3600
        assert (item["state"], item["connected"], item["pending"]) == ("synced", True, 0)
    assert "expires in" in mesh.run("proxies").stdout


def test_a_proxy_that_stops_answering_is_forgotten_and_comes_back(mesh: Mesh) -> None:
    def reported() -> bool:
        result = {proxy["name"]: proxy["reported"] for proxy in api(mesh, "proxies")["proxies"]}
        return bool(result.get("free-1"))

    until(reported, "free-1 reports")
    pid = mesh.pid("free-1.proxy")
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: not reported(), "its report has expired")
        assert mesh.run("proxy", "front-1", "config", "listeners").returncode == 0
    finally:
        os.kill(pid, signal.SIGCONT)
    until(reported, "it reports again")


def test_a_config_is_envoys_own_and_hides_keys(mesh: Mesh) -> None:
    stdout = mesh.run("proxy", "front-1", "config", "-o", "json").stdout
    identity = json.loads((mesh.state / "sidecars" / "front-1" / "identity.json").read_text())
    key = identity["resources"][0]["tls_certificate"]["private_key"]["inline_string"]
    assert "PRIVATE KEY" not in stdout
    assert key.splitlines()[1] not in stdout
    routes = mesh.run("proxy", "front-1", "config", "routes").stdout
    assert "out/back" in json.dumps(YAML(typ="safe").load(routes))
    clusters = json.loads(mesh.run("proxy", "front-1", "config", "clusters", "-o", "json").stdout)
    assert [config["@type"].rpartition(".")[2] for config in clusters["configs"]] == ["ClustersConfigDump"]
    endpoints = mesh.run("proxy", "front-1", "config", "endpoints").stdout
    assert str(mesh.ports("back-1")["inbound"]) in endpoints
    listeners = mesh.run("proxy", "ingress", "config", "listeners").stdout
    assert str(mesh.ingress_port) in listeners
