"""Retry under traffic: how many calls succeed, and how many tries reach the upstream."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.wrk import app_requests, send, stats, through

HALF = "/fail?rate=0.5"
ALWAYS = "/fail?rate=1"
UNLIMITED = "budget: {percent: 100, minConcurrency: 1000}"


def retry(spec: str, name: str = "back", target: str = "{kind: Service, name: back}") -> str:
    """A Retry for the service `back`, or for another target."""
    return f"""
apiVersion: meshwright.io/v1
kind: Retry
metadata: {{name: {name}}}
spec: {{targetRefs: [{target}], {spec}}}
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    apps = [service("front"), service("other"), service("back"), service("pair", replicas=2)]
    with running_mesh(tmp_path_factory.mktemp("mesh"), apps, MESH_LEASE_TTL="60") as running:
        yield running


def tries_of_one_call(
    mesh: Mesh, path: str, method: str = "GET", caller: str = "front-1", **options: Any
) -> int:
    """How many tries of one call of `back` reached its application."""
    mesh.reset("back-1")
    mesh.get(caller, f"http://back{path}", method, **options)
    return app_requests(mesh, "back-1")


# Four standard deviations of the share that succeeds, or more, fit in each tolerance.
@pytest.mark.parametrize(
    ("attempts", "calls", "share", "per_call"),
    [(0, 3000, (0.46, 0.54), 1.0), (2, 6000, (0.855, 0.895), 1.75), (7, 3000, (0.99, 1.0), 1.992)],
)
def test_retries_raise_the_success_rate_when_half_of_the_tries_fail(
    mesh: Mesh, attempts: int, calls: int, share: tuple[float, float], per_call: float
) -> None:
    mesh.apply(retry(f"attempts: {attempts}, backoff: {{base: 1ms, max: 2ms}}, {UNLIMITED}"))
    mesh.reset("back-1")
    outcome = send(through(mesh, "front-1", "back", HALF), calls)
    assert outcome.requests == calls
    assert share[0] <= outcome.succeeded <= share[1]
    assert app_requests(mesh, "back-1") / calls == pytest.approx(per_call, rel=0.05)


@pytest.mark.parametrize(
    ("method", "headers", "times"),
    [
        ("GET", {}, 3),
        ("HEAD", {}, 3),
        ("OPTIONS", {}, 3),
        ("PUT", {}, 3),
        ("DELETE", {}, 3),
        ("POST", {}, 1),
        ("PATCH", {}, 1),
        ("POST", {"Idempotency-Key": "k1"}, 3),
        ("PATCH", {"Idempotency-Key": "k2"}, 3),
    ],
)
def test_only_requests_that_are_safe_to_repeat_are_retried(
    mesh: Mesh, method: str, headers: dict[str, str], times: int
) -> None:
    mesh.apply(retry("attempts: 2"))
    data = "body" if method in ("POST", "PUT", "PATCH") else None
    assert tries_of_one_call(mesh, ALWAYS, method, headers=headers, data=data) == times


@pytest.mark.parametrize(
    ("on", "code", "times"),
    [
        ("[503]", 503, 3),
        ("[503]", 500, 1),
        ("[429, 500]", 429, 3),
        ("[5xx]", 500, 3),
        ("[gateway-error]", 500, 1),
        ("[gateway-error]", 502, 3),
        ("[retriable-4xx]", 409, 3),
        ("[retriable-4xx]", 404, 1),
        ("[connect-failure]", 503, 1),
    ],
)
def test_only_listed_conditions_are_retried(mesh: Mesh, on: str, code: int, times: int) -> None:
    mesh.apply(retry(f"attempts: 2, on: {on}"))
    assert tries_of_one_call(mesh, f"{ALWAYS}&code={code}") == times


def test_per_try_timeout_limits_each_try(mesh: Mesh) -> None:
    mesh.apply(retry("attempts: 2, perTryTimeout: 700ms, backoff: {base: 1ms, max: 2ms}"))
    mesh.reset("back-1")
    response = mesh.get("front-1", "http://back/delay?ms=12000")
    assert response.status_code == 504
    assert 2.08 <= response.elapsed.total_seconds() < 8
    assert app_requests(mesh, "back-1") == 3
    assert tries_of_one_call(mesh, "/delay?ms=3000", "POST") == 1


def test_rules_retry_overrides_the_services(mesh: Mesh) -> None:
    inline = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: back}
spec:
  parentRefs: [{kind: Service, name: back}]
  rules:
  - matches: [{headers: [{name: x-inline, value: "yes"}]}]
    retry: {attempts: 1, codes: [503]}
    backendRefs: [{name: back}]
  - backendRefs: [{name: back}]
"""
    mesh.apply(retry("attempts: 4, on: [5xx]") + "---" + inline)
    try:
        assert tries_of_one_call(mesh, ALWAYS, headers={"x-inline": "yes"}) == 2
        assert tries_of_one_call(mesh, f"{ALWAYS}&code=500", headers={"x-inline": "yes"}) == 1
        assert tries_of_one_call(mesh, ALWAYS) == 5
    finally:
        mesh.delete("HTTPRoute", "back")


def test_retry_with_from_applies_to_that_caller_only(mesh: Mesh) -> None:
    mesh.apply(retry("attempts: 1") + "---" + retry("from: [front], attempts: 3", "for-front"))
    assert tries_of_one_call(mesh, ALWAYS, caller="front-1") == 4
    assert tries_of_one_call(mesh, ALWAYS, caller="other-1") == 2
    mesh.delete("Retry", "for-front")
    assert tries_of_one_call(mesh, ALWAYS, caller="front-1") == 2


def test_budget_prevents_a_retry_storm(mesh: Mesh) -> None:
    mesh.apply(retry("attempts: 5, budget: {percent: 20, minConcurrency: 1}"))
    mesh.reset("back-1")
    outcome = send(through(mesh, "front-1", "back", ALWAYS), 3000, connections=50)
    assert set(outcome.statuses) == {503}
    assert 1.0 <= app_requests(mesh, "back-1") / outcome.requests < 1.5
    assert stats(mesh, "front-1", "cluster_upstream_rq_retry_overflow") > 0
    mesh.apply(retry(f"attempts: 5, {UNLIMITED}, backoff: {{base: 1ms, max: 1ms}}"))
    mesh.reset("back-1")
    outcome = send(through(mesh, "front-1", "back", ALWAYS), 500, connections=50)
    assert app_requests(mesh, "back-1") / outcome.requests > 5


@pytest.mark.parametrize("policy", ["", "attempts: 2"], ids=["no policy", "two attempts"])
def test_failed_connections_are_retried_on_another_instance_even_for_post(mesh: Mesh, policy: str) -> None:
    """One of two replicas is killed while its agent is suspended: it is not reported, and its lease lasts."""
    if policy:
        mesh.apply(retry(policy, "pair", "{kind: Service, name: pair}"))
    until(lambda: pair_members(mesh) == {"pair-1", "pair-2"}, "both instances respond")
    agent = mesh.pid("agent")
    front, victim = mesh.caller("front-1"), mesh.ports("pair-1")["inbound"]
    refused = stats(mesh, "front-1", "cluster_upstream_cx_connect_fail", envoy_cluster_name="pair")
    proxy = mesh.pid("pair-1.proxy")
    os.kill(agent, signal.SIGSTOP)
    try:
        os.kill(proxy, signal.SIGKILL)
        until(lambda: not _accepts(victim), "the killed proxy's port is closed")
        responses = [front.post("http://pair/echo", timeout=30) for _ in range(40)]
    finally:
        os.kill(agent, signal.SIGCONT)
    assert {response.status_code for response in responses} == {200}
    assert {response.json()["name"] for response in responses} == {"pair-2"}
    assert stats(mesh, "front-1", "cluster_upstream_cx_connect_fail", envoy_cluster_name="pair") > refused


def pair_members(mesh: Mesh) -> set[str]:
    """Which instances respond to 20 calls."""
    responses = [mesh.get("front-1", "http://pair/echo", "POST") for _ in range(20)]
    assert {response.status_code for response in responses} == {200}
    return {response.json()["name"] for response in responses}


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
