"""Changes in a mesh are visible soon: breakers, stopped services, failing services, injected faults.

Delays are measured from the time when Envoy's statistics show the change: so the calls of the test and a busy
machine do not count.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from meshwright.cli.http import call_api
from meshwright.control_plane.api import calls as api_calls
from meshwright.control_plane.api.errors import ApiError
from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.mesh_topology import edges, health, service_rows, service_totals, totals

SOON = 3.0
"""Seconds after Envoy within which a breaker is visible, in one of several attempts."""

TIMES = 5

STOPPED = 5.0
"""Seconds within which a stopped service is unhealthy, in one of several attempts."""

BREAKER = """
apiVersion: meshwright.io/v1
kind: CircuitBreaker
metadata: {name: lab}
spec: {targetRefs: [{kind: Service, name: back}], consecutiveFailures: 3, openFor: 10s}
"""
RETRY = """
apiVersion: meshwright.io/v1
kind: Retry
metadata: {name: lab}
spec:
  targetRefs: [{kind: Service, name: flaky}]
  attempts: 1
  on: [503]
  backoff: {base: 1ms, max: 2ms}
  budget: {percent: 100, minConcurrency: 1000}
"""
FAULT = """
apiVersion: meshwright.io/v1
kind: FaultInjection
metadata: {name: lab}
spec:
  targetRefs: [{kind: Service, name: back}]
  abort: {status: 503, percent: 100}
  headers: [{name: x-fault, value: "yes"}]
"""
DELAY = """
apiVersion: meshwright.io/v1
kind: FaultInjection
metadata: {name: slow}
spec:
  targetRefs: [{kind: Service, name: back}]
  delay: {fixed: 300ms}
"""
ROUTE = """---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: parts}
spec:
  parentRefs: [{kind: Service, group: "", name: back}]
  rules:
    - matches: [{path: {type: PathPrefix, value: /echo}}]
      backendRefs: [{name: back, port: 80}]
    - matches: [{path: {type: PathPrefix, value: /gone}}]
      backendRefs: [{name: nosuchservice, port: 80}]
"""
PERMISSIVE = """
apiVersion: meshwright.io/v1
kind: MutualTLS
metadata: {name: lab}
spec: {targetRefs: [{kind: Service, name: ill}], mode: Permissive}
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    names = ("front", "back", "flaky", "ill", "quiet")
    with running_mesh(tmp_path_factory.mktemp("changes"), [service(name) for name in names]) as running:
        yield running


def ejected(mesh: Mesh) -> bool:
    """Whether front's Envoy reports an ejected instance of back."""
    port = mesh.ports("front-1")["ready"]
    text = requests.get(f"http://127.0.0.1:{port}/stats/prometheus", timeout=60).text
    name = 'envoy_cluster_outlier_detection_ejections_active{envoy_cluster_name="back"}'
    return any(float(line.split()[-1]) > 0 for line in text.splitlines() if line.startswith(name))


def wait_until_reported(mesh: Mesh) -> None:
    """Wait until all of front's calls so far are reported: a call made after them is."""
    before = totals(mesh, "front", "quiet")["requests"]
    assert mesh.get("front-1", "http://quiet/echo").status_code == 200
    until(lambda: totals(mesh, "front", "quiet")["requests"] > before, "the last call of front is reported")


def delay(envoy: Callable[[], bool], is_shown: Callable[[], bool], what: str) -> float:
    """Seconds from when Envoy reports it to when the mesh shows it; both are polled in turn."""
    reported_at: list[float] = []

    def both() -> bool:
        if not reported_at and envoy():
            reported_at.append(time.monotonic())
        return bool(reported_at) and is_shown()

    until(both, what, every=0.02)
    return time.monotonic() - reported_at[0]


def test_breaker_state_is_visible_soon(mesh: Mesh) -> None:
    mesh.apply(BREAKER)

    def is_open() -> bool:
        edge = edges(mesh).get(("front", "back"), {})
        row = service_rows(mesh)["back"]
        return (edge.get("breaker"), edge.get("ejected"), row["breaker"]) == ("open", 1, "open")

    def is_closed() -> bool:
        edge = edges(mesh)["front", "back"]
        return (edge["breaker"], edge["ejected"], service_rows(mesh)["back"]["breaker"]) == (
            "closed",
            0,
            "closed",
        )

    delays: list[float] = []
    with mesh.caller("front-1") as session:
        while not delays or (min(delays) >= SOON and len(delays) < TIMES):
            for _ in range(4):
                session.get("http://back/status/500", timeout=30)
            opened = delay(lambda: ejected(mesh), is_open, "an open breaker")
            assert health(mesh, "back") != "healthy"
            closed = delay(lambda: not ejected(mesh), is_closed, "a closed breaker")
            delays.append(max(opened, closed))
    assert min(delays) < SOON, delays


def delete_policies(mesh: Mesh) -> None:
    for policy in mesh.status()["policies"]:
        mesh.delete(policy["kind"], policy["name"])


def test_injected_fault_counts_as_a_failed_call(mesh: Mesh) -> None:
    delete_policies(mesh)
    mesh.apply(FAULT)
    wait_until_reported(mesh)
    before = totals(mesh, "front", "back")
    with mesh.caller("front-1") as session:
        for number in range(100):
            headers = {"x-fault": "yes"} if number % 4 == 0 else {}
            assert session.get("http://back/echo", headers=headers, timeout=30).status_code in (200, 503)
    expected = {**before, "requests": before["requests"] + 100, "failures": before["failures"] + 25}
    until(lambda: totals(mesh, "front", "back") == expected, "a hundred calls, 25 of them failed")


def test_every_response_and_delay_that_callers_get_is_in_the_picture(mesh: Mesh) -> None:
    delete_policies(mesh)
    mesh.apply(DELAY + ROUTE)
    wait_until_reported(mesh)
    before = totals(mesh, "front", "back")
    with mesh.caller("front-1") as session:
        for _ in range(20):
            statuses = [
                session.get(f"http://back/{path}", timeout=30).status_code
                for path in ("echo", "gone", "no-such-route")
            ]
            assert statuses == [200, 500, 404]
    until(lambda: edges(mesh)["front", "back"]["p99_ms"] >= 290, "callers waited for the fault")
    expected = {**before, "requests": before["requests"] + 60, "failures": before["failures"] + 40}
    until(lambda: totals(mesh, "front", "back") == expected, "sixty calls, two thirds of them failed")
    delete_policies(mesh)


def test_service_that_fails_behind_retries_is_degraded(mesh: Mesh) -> None:
    mesh.apply(RETRY)
    with mesh.caller("front-1") as session:
        for number in range(60):
            path = f"once/{number}" if number % 3 == 0 else "echo"
            assert session.get(f"http://flaky/{path}", timeout=30).status_code == 200
    until(lambda: health(mesh, "flaky") == "degraded", "a quarter of its responses are failures")
    assert service_rows(mesh)["flaky"]["success"] == 1
    counts = {"requests": 60, "failures": 0, "retries": 20}
    until(lambda: service_totals(mesh, "flaky") == counts, "sixty calls, a third of them retried")


def test_trace_shows_each_try_of_a_request(mesh: Mesh) -> None:
    trace, parent = secrets.token_hex(16), secrets.token_hex(8)
    mesh.apply(RETRY)
    headers = {"traceparent": f"00-{trace}-{parent}-01"}
    assert mesh.get("front-1", f"http://flaky/once/{trace}", headers=headers).status_code == 200

    def all_spans() -> list[dict[str, Any]]:
        try:
            spans = call_api(api_calls.trace(trace), mesh.state)["tree"]
        except ApiError as error:
            assert error.status == 404
            return []
        return list(spans) if len(spans) >= 7 else []

    tree = until(all_spans, "the spans of both proxies")
    calls = [span for span in tree if (span["service"], span["kind"]) == ("front", "client")]
    received = [span for span in tree if (span["service"], span["kind"]) == ("flaky", "server")]
    assert [call["attempt"] for call in calls] == [0, 1]
    assert len({call["parent"] for call in calls}) == 1
    assert [span["parent"] for span in received] == [call["id"] for call in calls]
    assert [span["attributes"]["http.status_code"] for span in received] == ["503", "200"]
    output = mesh.run("trace", trace).stdout
    assert "503 try 1 → flaky" in output
    assert "200 try 2 → flaky" in output


def test_service_that_fails_callers_outside_the_mesh_is_unhealthy(mesh: Mesh) -> None:
    mesh.apply(PERMISSIVE)
    url = f"http://127.0.0.1:{mesh.ports('ill-1')['inbound']}/status/500"

    def call() -> int:
        try:
            return requests.get(url, headers={"host": "ill"}, timeout=30).status_code
        except requests.ConnectionError:
            return 0

    until(lambda: call() == 500, "plaintext is accepted")
    assert [call() for _ in range(20)] == [500] * 20
    until(lambda: health(mesh, "ill") == "unhealthy", "the service is unhealthy")
    assert not [edge for edge in edges(mesh) if "ill" in edge]


def seconds_until_idle(mesh: Mesh, name: str) -> float:
    """Seconds from stopping a service's only instance to when the service is idle."""
    until(lambda: health(mesh, name) == "healthy", f"{name} is healthy")
    mesh.stop_workload(f"{name}-1")
    start = time.monotonic()
    until(lambda: health(mesh, name) == "idle", f"{name} is idle", every=0.02)
    took = time.monotonic() - start
    until(
        lambda: service_rows(mesh)[name]["health"] == "idle", "the table, which has a cache of its own, too"
    )
    return took


def test_stopped_service_is_idle_soon(mesh: Mesh) -> None:
    """The last test of this file: it stops services."""
    assert any(seconds_until_idle(mesh, name) < STOPPED for name in ("quiet", "flaky", "back"))
