"""Reports of sidecars with real Envoys: breakers, versions, certificates, configuration dumps."""

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

SHOWN_WITHIN = 3.0
"""Seconds within which a breaker's change is shown, in one of a few attempts: the machine may be busy."""

LATEST = 90.0
"""Seconds within which it is shown in every attempt."""

ATTEMPTS = 4

BREAKER = """
apiVersion: meshwright.io/v1
kind: CircuitBreaker
metadata: {name: %s}
spec: {targetRefs: [{kind: Service, name: %s}], %s}
"""
OUTLIER_BREAKER = BREAKER % ("back", "back", "consecutiveFailures: 5, openFor: 12s")
ROUND_ROBIN = """
apiVersion: meshwright.io/v1
kind: LoadBalancer
metadata: {name: back}
spec: {targetRefs: [{kind: Service, name: back}], algorithm: RoundRobin}
"""
LIMIT_BREAKER = BREAKER % ("slow", "slow", "maxRequests: 2")


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    services = [service("front"), service("back", replicas=2), service("slow"), service("free")]
    with running_mesh(tmp_path_factory.mktemp("mesh"), services) as running:
        running.apply("---".join((OUTLIER_BREAKER, LIMIT_BREAKER, ROUND_ROBIN)))
        for name in ("back", "slow", "free"):
            assert running.get("front-1", f"http://{name}/echo").status_code == 200
        yield running


def api(mesh: Mesh, path: str) -> Any:
    """GET from the admin API: faster than a command, which has to start."""
    url = json.loads((mesh.state / "mesh.json").read_text())["admin"]
    token = (mesh.state / "admin.token").read_text().strip()
    response = requests.get(f"{url}/api/v1/{path}", headers={"Authorization": f"Bearer {token}"}, timeout=60)
    response.raise_for_status()
    return response.json()


def breakers(mesh: Mesh) -> dict[str, dict[str, Any]]:
    """The breakers of front's edges by callee."""
    return {
        breaker["to"]: breaker for breaker in api(mesh, "status")["breakers"] if breaker["from"] == "front"
    }


def wait_for_breaker(mesh: Mesh, to: str, state: str) -> dict[str, Any]:
    """The breaker, once it is in this state."""

    def in_state() -> dict[str, Any] | None:
        breaker = breakers(mesh).get(to, {})
        return breaker if breaker.get("state") == state else None

    breaker: dict[str, Any] = until(in_state, f"{to} is {state}", LATEST)
    return breaker


def delay(mesh: Mesh, state: str, ejected: int) -> float:
    """Seconds between the ejection of this many instances of back by front's Envoy and the new state."""
    port = mesh.ports("front-1")["ready"]
    name = 'envoy_cluster_outlier_detection_ejections_active{envoy_cluster_name="back"}'
    ejected_at: list[float] = []

    def is_shown() -> bool:
        text = (
            "" if ejected_at else requests.get(f"http://127.0.0.1:{port}/stats/prometheus", timeout=60).text
        )
        lines = [line for line in text.splitlines() if line.startswith(name)]
        if lines and float(lines[0].split()[-1]) == ejected:
            ejected_at.append(time.monotonic())
        return bool(ejected_at) and breakers(mesh)["back"]["state"] == state

    until(is_shown, f"{ejected} ejected, and the breaker {state}", LATEST, every=0.02)
    return time.monotonic() - ejected_at[0]


def test_breakers_without_traffic_are_closed(mesh: Mesh) -> None:
    until(lambda: {"back", "slow"} <= breakers(mesh).keys(), "both edges are shown")
    edges = breakers(mesh)
    assert edges.keys() == {"back", "slow"}
    assert edges["back"] == {
        "from": "front", "to": "back", "state": "closed", "ejected": 0, "hosts": 2, "limited": False,
        "trials_passed": 0, "trials_failed": 0,
    }  # fmt: skip


def test_breaker_opens_and_closes_is_shown_within_three_seconds(mesh: Mesh) -> None:
    until(lambda: breakers(mesh)["back"]["state"] == "closed", "closed to begin with")
    delays: list[float] = []
    while not delays or (min(delays) >= SHOWN_WITHIN and len(delays) < ATTEMPTS):
        if delays:
            wait_for_breaker(mesh, "back", "closed")
        for _ in range(12):  # each instance fails five times in a row
            mesh.get("front-1", "http://back/status/500")
        delays.append(delay(mesh, "open", 2))
    assert min(delays) < SHOWN_WITHIN, delays
    breaker = wait_for_breaker(mesh, "back", "open")
    assert (breaker["ejected"], breaker["hosts"]) == (2, 2)
    assert mesh.get("front-1", "http://back/echo").status_code == 503
    assert "back" in mesh.run("status").stdout.partition("BREAKER")[2]

    assert delay(mesh, "closed", 0) < LATEST
    assert mesh.get("front-1", "http://back/echo").status_code == 200
    assert wait_for_breaker(mesh, "back", "closed")["ejected"] == 0
    assert "BREAKER" not in mesh.run("status").stdout


def test_breaker_one_of_two_instances_ejected_is_partial(mesh: Mesh) -> None:
    wait_for_breaker(mesh, "back", "closed")
    until(
        lambda: mesh.get("front-1", "http://back/echo").headers["x-served-by"] == "back-1",
        "the turn of back-1",
    )
    for _ in range(5):  # round robin: every failure is back-2's
        assert mesh.get("front-1", "http://back/status/500").headers["x-served-by"] == "back-2"
        assert mesh.get("front-1", "http://back/echo").headers["x-served-by"] == "back-1"
    breaker = wait_for_breaker(mesh, "back", "partial")
    assert (breaker["ejected"], breaker["hosts"]) == (1, 2)
    assert mesh.get("front-1", "http://back/echo").status_code == 200
    until(lambda: mesh.get("front-1", "http://back/echo").headers["x-served-by"] == "back-2", "it is back")
    wait_for_breaker(mesh, "back", "closed")


def test_breaker_limit_reached_is_open_meanwhile(mesh: Mesh) -> None:
    until(lambda: breakers(mesh)["slow"]["state"] == "closed", "closed to begin with")
    requests_in_flight = [
        threading.Thread(target=mesh.get, args=("front-1", "http://slow/delay?ms=12000"), daemon=True)
        for _ in range(2)
    ]
    for thread in requests_in_flight:
        thread.start()
    breaker = wait_for_breaker(mesh, "slow", "open")
    assert (breaker["limited"], breaker["ejected"], breaker["hosts"]) == (True, 0, 1)
    rejected = mesh.get("front-1", "http://slow/echo")
    assert (rejected.status_code, rejected.headers.get("x-envoy-overloaded")) == (503, "true")
    for thread in requests_in_flight:
        thread.join(30)
    assert not wait_for_breaker(mesh, "slow", "closed")["limited"]


def test_breaker_short_burst_over_the_limit_is_shown(mesh: Mesh) -> None:
    until(lambda: breakers(mesh)["slow"]["state"] == "closed", "closed to begin with")
    callers = [mesh.caller("front-1") for _ in range(20)]
    with ThreadPoolExecutor(len(callers)) as pool:
        futures = [pool.submit(caller.get, "http://slow/delay?ms=300", timeout=30) for caller in callers]
        wait_for_breaker(mesh, "slow", "open")
    assert {future.result().status_code for future in futures} == {200, 503}
    wait_for_breaker(mesh, "slow", "closed")


def test_proxies_have_the_report_of_their_agents(mesh: Mesh) -> None:
    def all_reported() -> bool:
        return all(proxy["reported"] for proxy in api(mesh, "proxies")["proxies"])

    until(all_reported, "every sidecar and the gateway report")
    by_name = {proxy["name"]: proxy for proxy in api(mesh, "proxies")["proxies"]}
    assert by_name.keys() == {"front-1", "back-1", "back-2", "slow-1", "free-1", "ingress"}
    for proxy in by_name.values():
        assert proxy["version"].startswith("1.")
        assert proxy["memory"] > 1_000_000
        assert 0 < proxy["expires"] - time.time() <= 3600
        assert (proxy["state"], proxy["connected"], proxy["pending"]) == ("synced", True, 0)
    assert "expires in" in mesh.run("proxies").stdout


def test_proxy_hangs_its_report_expires_and_returns(mesh: Mesh) -> None:
    def reported() -> bool:
        by_name = {proxy["name"]: proxy["reported"] for proxy in api(mesh, "proxies")["proxies"]}
        return bool(by_name.get("free-1"))

    until(reported, "free-1 reports")
    pid = mesh.pid("free-1.proxy")
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: not reported(), "its report has expired")
        assert mesh.run("proxy", "front-1", "config", "listeners").returncode == 0
    finally:
        os.kill(pid, signal.SIGCONT)
    until(reported, "it reports again")


def test_proxy_config_is_envoys_dump_without_keys(mesh: Mesh) -> None:
    stdout = mesh.run("proxy", "front-1", "config", "-o", "json").stdout
    identity = json.loads((mesh.state / "sidecars" / "front-1" / "identity.json").read_text())
    key = identity["resources"][0]["tls_certificate"]["private_key"]["inline_string"]
    assert "PRIVATE KEY" not in stdout
    assert key.splitlines()[1] not in stdout
    routes = mesh.run("proxy", "front-1", "config", "routes").stdout
    assert "out/back" in json.dumps(YAML(typ="safe").load(routes))
    clusters = json.loads(mesh.run("proxy", "front-1", "config", "clusters", "-o", "json").stdout)
    assert [config["@type"].rpartition(".")[2] for config in clusters["configs"]] == ["ClustersConfigDump"]
    columns = [line.split() for line in mesh.run("proxy", "front-1", "endpoints").stdout.splitlines()]
    assert ["back", f"127.0.0.1:{mesh.ports('back-1')['inbound']}", "healthy", "1"] in columns
    clusters_of_back = mesh.run("proxy", "front-1", "clusters", "--name", "back").stdout
    assert ["back", "EDS", "ROUND_ROBIN", "mTLS", "active"] in map(str.split, clusters_of_back.splitlines())
    assert "out/back" in mesh.run("proxy", "front-1", "routes", "--name", "out/back").stdout
    gateway = mesh.run("proxy", "ingress", "listeners", "--name", f":{mesh.ingress_port}").stdout
    assert gateway.splitlines()[1].startswith("ingress ")
    certificates = json.loads(mesh.run("proxy", "front-1", "certs", "-o", "json").stdout)["items"]
    subjects = {item["use"]: item["subject"] for item in certificates}
    assert subjects == {"certificate": "spiffe://mesh.local/service/front", "trusted": "spiffe://mesh.local"}
    endpoints = mesh.run("proxy", "front-1", "config", "endpoints").stdout
    assert str(mesh.ports("back-1")["inbound"]) in endpoints
    listeners = mesh.run("proxy", "ingress", "config", "listeners").stdout
    assert str(mesh.ingress_port) in listeners
