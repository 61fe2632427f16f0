"""Timeout under traffic: when a request, a try or a silence is cut off, and when it is not."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import requests

from tests.envoy.harness import Mesh, running_mesh, service
from tests.envoy.load import tries

EARLY = 0.02
"""Seconds an answer may seem early: Envoy's clock and ours tick in milliseconds of their own."""

SLACK = 5.0
"""Seconds an answer may come late on a busy machine: what it must not wait for takes longer."""

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
    with running_mesh(tmp_path_factory.mktemp("mesh"), [service("front"), service("back")]) as actual_mesh:
        yield actual_mesh


def answered(mesh: Mesh, status: int, seconds: float, path: str = LONG) -> None:
    """Assert that `back` answers with `status` after so many seconds, within the slack."""
    mesh.get("front-1", "http://back/echo")
    response = mesh.get("front-1", f"http://back{path}")
    assert response.status_code == status
    assert seconds - EARLY <= response.elapsed.total_seconds() < seconds + SLACK


def test_an_answer_of_three_seconds_comes_without_a_timeout(mesh: Mesh) -> None:
    answered(mesh, 200, 3.0, "/delay?ms=3000")


def test_a_request_that_takes_too_long_gets_504_in_time(mesh: Mesh) -> None:
    mesh.apply(timeout("request: 500ms"))
    answered(mesh, 504, 0.5)
    answered(mesh, 200, 0.2, "/delay?ms=200")


@pytest.mark.parametrize(("service_s", "rule_s"), [("500ms", 1.5), ("8s", 0.7)])
def test_a_rule_s_own_timeout_wins_over_the_service_s(mesh: Mesh, service_s: str, rule_s: float) -> None:
    text = f"timeouts: {{request: {round(rule_s * 1000)}ms}}"
    mesh.apply(timeout(f"request: {service_s}") + "---" + route(text))
    answered(mesh, 504, rule_s)
    mesh.delete("HTTPRoute", "back")


def test_a_rule_s_timeout_of_zero_takes_the_service_s_away(mesh: Mesh) -> None:
    mesh.apply(timeout("request: 300ms") + "---" + route("timeouts: {request: 0s}"))
    answered(mesh, 200, 1.0, "/delay?ms=1000")
    mesh.delete("HTTPRoute", "back")


@pytest.mark.parametrize("where", ["policy", "rule"])
def test_each_try_has_the_backend_s_time(mesh: Mesh, where: str) -> None:
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
    assert tries(mesh, "back-1") == 3
    mesh.delete("Retry", "back")
    mesh.reset("back-1")
    answered(mesh, 504, 0.6)
    assert mesh.counts("back-1")["GET /delay"] == 1
    if where == "rule":
        mesh.delete("HTTPRoute", "back")


def test_all_tries_together_have_the_request_s_time(mesh: Mesh) -> None:
    mesh.apply(timeout("request: 1500ms, backendRequest: 1s"))
    answered(mesh, 504, 1.0)
    mesh.apply(
        """
apiVersion: meshwright.io/v1
kind: Retry
metadata: {name: back}
spec: {targetRefs: [{kind: Service, name: back}], attempts: 10, backoff: {base: 1ms, max: 2ms}}
"""
    )
    answered(mesh, 504, 1.5)
    mesh.delete("Retry", "back")


def test_silence_is_cut_and_a_stream_that_speaks_is_not(mesh: Mesh) -> None:
    mesh.apply(timeout("idle: 2s"))
    response = mesh.get("front-1", "http://back/stream?seconds=5&every=0.1")
    assert response.text.endswith("end 50\n")
    answered(mesh, 504, 2.0)
    begun = time.monotonic()
    with pytest.raises(requests.RequestException):
        mesh.get("front-1", "http://back/stream?seconds=24&every=12")
    assert 2.0 - EARLY <= time.monotonic() - begun < 2.0 + SLACK


def test_a_stream_is_cut_only_when_a_timeout_says_so(mesh: Mesh) -> None:
    mesh.apply(timeout("request: 1s"))
    with pytest.raises(requests.RequestException):
        mesh.get("front-1", "http://back/stream?seconds=4&every=0.1")
    mesh.delete("Timeout", "back")
    assert mesh.get("front-1", "http://back/stream?seconds=4&every=0.1").text.endswith("end 40\n")


def test_a_rule_s_timeout_holds_at_the_ingress(mesh: Mesh) -> None:
    mesh.apply(route("timeouts: {request: 500ms}", "{name: ingress}"))
    response = mesh.outside("/delay?ms=6000")
    assert response.status_code == 504
    assert 0.5 - EARLY <= response.elapsed.total_seconds() < 0.5 + SLACK
    assert mesh.get("front-1", "http://back/delay?ms=1000").status_code == 200
