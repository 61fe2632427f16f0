"""Timeout under traffic: when requests, tries and idle streams end, and when they do not."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import requests

from tests.envoy.harness import Mesh, running_mesh, service
from tests.envoy.wrk import app_requests

EARLY = 0.02
"""Seconds a response may seem early: Envoy's clock and ours are not in step within a millisecond."""

SLACK = 5.0
"""Seconds a response may be late on a busy machine; what it must not wait for takes longer."""

LONG = "/delay?ms=12000"


def timeout(spec: str, name: str = "back") -> str:
    """A Timeout for the service `back`."""
    return f"""
apiVersion: meshwright.io/v1
kind: Timeout
metadata: {{name: {name}}}
spec: {{targetRefs: [{{kind: Service, name: back}}], {spec}}}
"""


def route(rule: str, parent: str = "{kind: Service, name: back}") -> str:
    """A route of one rule to `back`."""
    return f"""
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: back}}
spec: {{parentRefs: [{parent}], rules: [{{backendRefs: [{{name: back}}], {rule}}}]}}
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with running_mesh(tmp_path_factory.mktemp("mesh"), [service("front"), service("back")]) as running:
        yield running


def assert_status(mesh: Mesh, status: int, seconds: float, path: str = LONG) -> None:
    """Assert that `back` responds with `status` after this many seconds, within the slack."""
    mesh.get("front-1", "http://back/echo")
    response = mesh.get("front-1", f"http://back{path}")
    assert response.status_code == status
    assert seconds - EARLY <= response.elapsed.total_seconds() < seconds + SLACK


def test_without_timeout_a_response_may_take_three_seconds(mesh: Mesh) -> None:
    assert_status(mesh, 200, 3.0, "/delay?ms=3000")


def test_request_timeout_responds_504_in_time(mesh: Mesh) -> None:
    mesh.apply(timeout("request: 500ms"))
    assert_status(mesh, 504, 0.5)
    assert_status(mesh, 200, 0.2, "/delay?ms=200")


@pytest.mark.parametrize(("service_timeout", "rule_seconds"), [("500ms", 1.5), ("8s", 0.7)])
def test_rules_timeout_overrides_the_services(mesh: Mesh, service_timeout: str, rule_seconds: float) -> None:
    text = f"timeouts: {{request: {round(rule_seconds * 1000)}ms}}"
    mesh.apply(timeout(f"request: {service_timeout}") + "---" + route(text))
    assert_status(mesh, 504, rule_seconds)
    mesh.delete("HTTPRoute", "back")


def test_rules_timeout_of_zero_removes_the_services(mesh: Mesh) -> None:
    mesh.apply(timeout("request: 300ms") + "---" + route("timeouts: {request: 0s}"))
    assert_status(mesh, 200, 1.0, "/delay?ms=1000")
    mesh.delete("HTTPRoute", "back")


@pytest.mark.parametrize("where", ["policy", "rule"])
def test_backend_request_limits_each_try(mesh: Mesh, where: str) -> None:
    mesh.apply(
        """
apiVersion: meshwright.io/v1
kind: Retry
metadata: {name: back}
spec: {targetRefs: [{kind: Service, name: back}], attempts: 2, backoff: {base: 1ms, max: 2ms}}
"""
    )
    limits = "request: 10s, backendRequest: 600ms"
    mesh.apply(
        timeout(limits)
        if where == "policy"
        else timeout("request: 9s") + "---" + route(f"timeouts: {{{limits}}}")
    )
    mesh.reset("back-1")
    response = mesh.get("front-1", f"http://back{LONG}")
    assert response.status_code == 504
    assert 1.8 - EARLY <= response.elapsed.total_seconds() < 1.8 + SLACK
    assert app_requests(mesh, "back-1") == 3
    mesh.delete("Retry", "back")
    mesh.reset("back-1")
    assert_status(mesh, 504, 0.6)
    assert mesh.counts("back-1")["GET /delay"] == 1
    if where == "rule":
        mesh.delete("HTTPRoute", "back")


def test_request_limits_all_tries_together(mesh: Mesh) -> None:
    mesh.apply(timeout("request: 1500ms, backendRequest: 1s"))
    assert_status(mesh, 504, 1.0)
    mesh.apply(
        """
apiVersion: meshwright.io/v1
kind: Retry
metadata: {name: back}
spec: {targetRefs: [{kind: Service, name: back}], attempts: 10, backoff: {base: 1ms, max: 2ms}}
"""
    )
    assert_status(mesh, 504, 1.5)
    mesh.delete("Retry", "back")


def test_idle_ends_a_silent_stream_only(mesh: Mesh) -> None:
    mesh.apply(timeout("idle: 2s"))
    response = mesh.get("front-1", "http://back/stream?seconds=5&every=0.1")
    assert response.text.endswith("end 50\n")
    assert_status(mesh, 504, 2.0)
    start = time.monotonic()
    with pytest.raises(requests.RequestException):
        mesh.get("front-1", "http://back/stream?seconds=24&every=12")
    assert 2.0 - EARLY <= time.monotonic() - start < 2.0 + SLACK


def test_stream_ends_only_with_a_timeout_policy(mesh: Mesh) -> None:
    mesh.apply(timeout("request: 1s"))
    with pytest.raises(requests.RequestException):
        mesh.get("front-1", "http://back/stream?seconds=4&every=0.1")
    mesh.delete("Timeout", "back")
    assert mesh.get("front-1", "http://back/stream?seconds=4&every=0.1").text.endswith("end 40\n")


def test_rules_timeout_applies_at_the_ingress(mesh: Mesh) -> None:
    mesh.apply(route("timeouts: {request: 500ms}", "{name: ingress}"))
    response = mesh.outside("/delay?ms=6000")
    assert response.status_code == 504
    assert 0.5 - EARLY <= response.elapsed.total_seconds() < 0.5 + SLACK
    assert mesh.get("front-1", "http://back/delay?ms=1000").status_code == 200
