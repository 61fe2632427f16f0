"""CircuitBreaker, HealthCheck, ConnectionPool and hedging under traffic, as counted by the upstream."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from random import Random
from typing import Any

import pytest
import requests

from tests.envoy.breaker_machine import BreakerMachine
from tests.envoy.envoy_admin import stats
from tests.envoy.harness import Mesh, running_mesh, service, until

USER, PROBE = "/switch/user", "/switch/probe"
OPEN_FOR = 4.0
ENFORCED = "outlier_detection_ejections_enforced_total"


RPC = {
    **service("rpc"),
    "command": [sys.executable, "-m", "tests.fakes.grpc_app"],
    "ports": [{"name": "grpc", "port": 0, "protocol": "grpc"}],
    "health": {"interval": "1s"},
}


TRIED = {
    **service("tried"),
    # Its agent asks this path once; from then on, those that ask are callers' trials.
    "health": {"path": PROBE, "interval": "1h", "healthyAfter": 1},
}


def policy(kind: str, spec: str, target: str = "back") -> str:
    return (
        f"---\napiVersion: meshwright.io/v1\nkind: {kind}\nmetadata: {{name: lab}}\n"
        f"spec: {{targetRefs: [{{kind: Service, name: {target}}}], {spec}}}\n"
    )


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    services = [service("front"), service("back", labels={"version": "v1"}), RPC, TRIED]
    with running_mesh(tmp_path_factory.mktemp("breaker"), services) as running:
        yield running


@pytest.fixture
def mesh(shared: Mesh) -> Iterator[Mesh]:
    """The shared mesh with a healthy upstream whose counters are reset.

    After the test, policies are deleted, probes have stopped, and no host is ejected.
    """
    for name in ("back-1", "tried-1"):
        switch(shared, name, user=200, probe=200)
        shared.reset(name)
    yield shared
    for entry in shared.status()["policies"]:
        shared.delete(entry["kind"], entry["name"])
    for name in ("back", "rpc", "tried"):
        until(partial(_is_plain, shared, name), f"{name} has no probes and no ejected host")


def _is_plain(mesh: Mesh, cluster: str) -> bool:
    names = ("health_check_attempt", "outlier_detection_ejections_active")
    return not any(counter(mesh, name, cluster) for name in names)


def switch(mesh: Mesh, instance: str = "back-1", **codes: int) -> None:
    """Make the upstream respond with these statuses from now on."""
    for name, code in codes.items():
        requests.post(f"{mesh.app(instance)}/switches/{name}/{code}", timeout=60).raise_for_status()


def call(mesh: Mesh, path: str = USER, service: str = "back") -> requests.Response:
    return mesh.get("front-1", f"http://{service}{path}")


def reached(mesh: Mesh, path: str = USER, instance: str = "back-1") -> int:
    """The number of requests for the path that reached the upstream."""
    return mesh.counts(instance).get(f"GET {path}", 0)


def is_open(response: requests.Response) -> bool:
    return response.status_code == 503 and "no healthy upstream" in response.text


def fail_until_open(mesh: Mesh, failures: int = 5) -> float:
    """Make the upstream fail until its caller's breaker opens. Returns a time just before that."""
    assert call(mesh).status_code == 200
    switch(mesh, user=500)
    mesh.reset("back-1")
    failed_at = fail(mesh, failures)
    assert reached(mesh) == failures
    return failed_at


def fail(mesh: Mesh, failures: int) -> float:
    """Send this many requests, which fail. The last one ejects the instance.

    Returns the time of the last one.
    """
    before, sent_at = counter(mesh, ENFORCED), 0.0
    for number in range(failures):
        assert counter(mesh, ENFORCED) == before, f"ejected after {number}"
        sent_at = time.monotonic()
        response = call(mesh)
        assert response.status_code == 500, response.text
    until(lambda: counter(mesh, ENFORCED) == before + 1, f"ejected after {failures}", every=0.01)
    return sent_at


def counter(mesh: Mesh, stat: str, cluster: str = "back") -> float:
    """A statistic of one of front's clusters."""
    port = mesh.ports("front-1")["ready"]
    text = requests.get(f"http://127.0.0.1:{port}/stats/prometheus", timeout=60).text
    name = f'envoy_cluster_{stat}{{envoy_cluster_name="{cluster}"}}'
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


def test_breaker_opens_after_five_failures_and_closes_after_open_for(mesh: Mesh) -> None:
    mesh.apply(policy("CircuitBreaker", f"openFor: {OPEN_FOR:g}s"))
    started = fail_until_open(mesh, 5)
    switch(mesh, user=200)
    while time.monotonic() < started + OPEN_FOR * 0.7:
        response, count = call(mesh), reached(mesh)
        if time.monotonic() < started + OPEN_FOR:
            assert (is_open(response), count) == (True, 5)
    until(lambda: call(mesh).status_code == 200, "the breaker is closed again")
    assert time.monotonic() - started >= OPEN_FOR


def test_breaker_without_health_check_retries_the_upstream_and_opens_again(mesh: Mesh) -> None:
    mesh.apply(policy("CircuitBreaker", "openFor: 1s, consecutiveFailures: 3"))
    fail_until_open(mesh, 3)
    until(lambda: counter(mesh, "outlier_detection_ejections_active") == 0, "it may be called again")
    fail(mesh, 3)
    assert reached(mesh) == 6


def test_breaker_with_health_check_sends_no_user_request_to_a_failing_upstream(mesh: Mesh) -> None:
    # The threshold keeps the probe itself from ejecting the instance: the breaker does.
    # Until the first probe succeeds, the previous cluster continues to serve.
    probe = f"http: {{path: {PROBE}}}, interval: 200ms, timeout: 10s, unhealthyThreshold: 100"
    mesh.apply(policy("CircuitBreaker", "openFor: 100ms") + policy("HealthCheck", probe))
    until(lambda: call(mesh).status_code == 200 and reached(mesh, PROBE) > 3, "probes pass")
    switch(mesh, user=500, probe=503)
    until(lambda: is_open(call(mesh)), "the breaker is open")
    before, probes = reached(mesh), reached(mesh, PROBE)
    until(lambda: not is_open(call(mesh)) or reached(mesh, PROBE) > probes + 20, "twenty probes")
    assert is_open(call(mesh))
    assert reached(mesh) == before
    switch(mesh, user=200, probe=200)
    until(lambda: call(mesh).status_code == 200, "a passing probe lets it back")


@pytest.mark.parametrize("seed", [1, 2])
def test_half_open_probe_follows_the_reference_machine(mesh: Mesh, seed: int) -> None:
    replay(mesh, Random(seed), steps=25, open_for=1.0)  # noqa: S311


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10, 16))
def test_half_open_probe_follows_the_reference_machine_for_long(mesh: Mesh, seed: int) -> None:
    replay(mesh, Random(seed), steps=150, open_for=2.0)  # noqa: S311


def replay(mesh: Mesh, random: Random, *, steps: int, open_for: float) -> None:
    """A random history of calls and trials, compared with the machine after each step.

    Trials fail unless the step wants one to pass. A test that is paused may miss some of them, so it compares
    how many there were with the time that has passed.
    """
    mesh.apply(policy("CircuitBreaker", f"openFor: {open_for:g}s, halfOpen: probe", "tried"))
    switch(mesh, "tried-1", probe=503)
    machine = BreakerMachine(failures=5, open_for=open_for)
    until(lambda: call(mesh, USER, "tried").status_code == 200, "the breaker is in force")
    for _ in range(steps):
        if machine.is_open:
            step = _let_trial_pass if random.random() < 0.5 else _wait_for_failed_trial
            step(mesh, machine)
            continue
        succeeds = random.random() < 0.2
        switch(mesh, "tried-1", user=200 if succeeds else 500)
        before, now = reached(mesh, USER, "tried-1"), time.monotonic()
        response = call(mesh, USER, "tried")
        assert machine.call(succeeds=succeeds, now=now), "the machine is closed"
        assert response.status_code == (200 if succeeds else 500), response.text
        assert reached(mesh, USER, "tried-1") == before + 1
        if machine.is_open:
            ejected = partial(counter, mesh, "outlier_detection_ejections_active", "tried")
            until(ejected, "it opens", every=0.01)


def _wait_for_failed_trial(mesh: Mesh, machine: BreakerMachine) -> None:
    """Until at least one trial has failed. No call reaches the upstream before or after it."""
    users, trials = reached(mesh, USER, "tried-1"), reached(mesh, PROBE, "tried-1")
    not_before, made = time.monotonic(), 0
    while not made:
        assert time.monotonic() < machine.opened_at + 120, "no trial"
        not_before = time.monotonic()
        assert is_open(call(mesh, USER, "tried"))
        made = reached(mesh, PROBE, "tried-1") - trials
    machine.trials_failed(made, now=time.monotonic(), not_before=not_before)
    assert is_open(call(mesh, USER, "tried"))
    assert reached(mesh, USER, "tried-1") == users


def _let_trial_pass(mesh: Mesh, machine: BreakerMachine) -> None:
    """Until a trial has passed, no earlier than the machine's, and calls with it."""
    switch(mesh, "tried-1", probe=200, user=200)
    until(lambda: call(mesh, USER, "tried").status_code == 200, "a trial passes", within=120)
    machine.trial(passes=True, now=time.monotonic())
    switch(mesh, "tried-1", probe=503)


def test_half_open_is_shown_and_counted(mesh: Mesh) -> None:
    mesh.apply(policy("CircuitBreaker", "openFor: 1s, halfOpen: probe, consecutiveFailures: 2", "tried"))
    until(lambda: call(mesh, USER, "tried").status_code == 200, "the breaker is in force")
    envoy = mesh.pid("front-1.proxy")
    endpoints = until(
        lambda: mesh.run("proxy", "front-1", "config", "endpoints", check=False).stdout, "its endpoints"
    )
    assert str(mesh.ports("tried-1")["inbound"]) in endpoints
    assert mesh.pid("front-1.proxy") == envoy, "Envoy survives the request for its configuration"
    requests.post(f"{mesh.app('tried-1')}/switches/probe/200?ms=1500", timeout=60).raise_for_status()
    switch(mesh, "tried-1", user=500)
    until(lambda: is_open(call(mesh, USER, "tried")), "it is open")
    until(lambda: breaker(mesh)["state"] == "half-open", "the trial takes its time", within=60)
    until(lambda: breaker(mesh)["trials_passed"] >= 1, "the trial is counted", within=60)


def breaker(mesh: Mesh) -> dict[str, Any]:
    """The breaker from front to tried."""
    return next(entry for entry in mesh.status()["breakers"] if entry["to"] == "tried")


def test_route_of_a_gateway_changes_when_the_first_check_has_passed(mesh: Mesh) -> None:
    """The agent, which answers the check that makes a cluster ready, is suspended while the route changes."""
    mesh.apply(policy("CircuitBreaker", "openFor: 1s, halfOpen: probe", "tried") + _ingress_to("back"))
    assert _reached_from_outside(mesh) == "back-1"
    agent = mesh.pid("agent")
    os.kill(agent, signal.SIGSTOP)
    try:
        mesh.run("apply", "-f", "-", stdin=_ingress_to("tried"))
        attempts = partial(stats, mesh, "ingress", "^cluster.tried.health_check.attempt$")
        until(lambda: sum(attempts().values()), "a check waits for its answer")
        assert {_reached_from_outside(mesh) for _ in range(300)} == {"back-1"}
    finally:
        os.kill(agent, signal.SIGCONT)
    until(lambda: _reached_from_outside(mesh) == "tried-1", "the cluster is ready")


def _reached_from_outside(mesh: Mesh) -> str:
    """The instance that the ingress chose; fails the test if it chose none."""
    response = mesh.outside("/echo")
    assert response.status_code == 200, response.text
    return str(response.json()["name"])


def _ingress_to(service: str) -> str:
    return (
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: ingress}\n"
        "spec:\n  parentRefs: [{kind: Gateway, name: ingress}]\n"
        f"  rules: [{{backendRefs: [{{name: {service}}}]}}]\n"
    )


def test_health_check_alone_removes_an_instance(mesh: Mesh) -> None:
    mesh.apply(policy("HealthCheck", f"http: {{path: {PROBE}}}, interval: 100ms"))
    assert call(mesh).status_code == 200
    switch(mesh, probe=503)
    until(lambda: is_open(call(mesh)), "the probe fails")
    switch(mesh, probe=200)
    until(lambda: call(mesh).status_code == 200, "the probe passes")


def test_tcp_health_check_succeeds_over_mutual_tls(mesh: Mesh) -> None:
    mesh.apply(policy("HealthCheck", "tcp: {}, interval: 100ms, timeout: 10s"))
    assert call(mesh).status_code == 200
    until(lambda: counter(mesh, "health_check_success") > 3, "probes pass")
    assert counter(mesh, "health_check_failure") == 0


def test_grpc_health_check_calls_the_health_service(mesh: Mesh) -> None:
    def called() -> requests.Response:
        return mesh.get("front-1", "http://rpc/")

    mesh.apply(policy("HealthCheck", "grpc: {}, interval: 100ms, timeout: 10s", "rpc"))
    assert not is_open(called())
    until(lambda: counter(mesh, "health_check_success", "rpc") > 3, "probes pass")
    assert counter(mesh, "health_check_failure", "rpc") == 0
    mesh.apply(policy("HealthCheck", "http: {path: /}, interval: 100ms", "rpc"))
    until(lambda: is_open(called()), "an HTTP probe of a gRPC server fails")


def test_max_requests_responds_503_with_overloaded(mesh: Mesh) -> None:
    mesh.apply(policy("CircuitBreaker", "maxRequests: 1"))
    assert call(mesh).status_code == 200
    before = counter(mesh, "upstream_rq_active_overflow")
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(call, mesh, "/delay?ms=5000")
        until(lambda: reached(mesh, "/delay") == 1, "the first request is in flight")
        response = call(mesh)
        assert not slow.done()
        assert slow.result().status_code == 200
    assert response.status_code == 503
    assert response.headers["x-envoy-overloaded"] == "true"
    assert "overflow" in response.text
    assert reached(mesh) == 1
    assert counter(mesh, "upstream_rq_active_overflow") == before + 1
    assert call(mesh).status_code == 200


def test_changed_endpoints_keep_the_breaker_open_and_a_changed_breaker_resets_it(mesh: Mesh) -> None:
    mesh.apply(policy("CircuitBreaker", "openFor: 10m"))
    fail_until_open(mesh)
    before = reached(mesh)
    mesh.apply(policy("LoadBalancer", "weights: [{labels: {version: v1}, weight: 7}]"))
    assert is_open(call(mesh))
    for state, health in (("fail", "unhealthy"), ("ok", "healthy")):
        requests.post(f"{mesh.app('back-1')}/health/{state}", timeout=60).raise_for_status()
        until(partial(is_healthy, mesh, health == "healthy"), f"back-1 is {health}")
        assert is_open(call(mesh))
    assert reached(mesh) == before
    mesh.apply(policy("CircuitBreaker", "openFor: 9m"))
    until(lambda: call(mesh).status_code == 500, "the new cluster has no failures")


def is_healthy(mesh: Mesh, expected: bool) -> bool:
    """Whether the control plane considers back-1 healthy, as expected."""
    back = next(entry for entry in mesh.status()["services"] if entry["name"] == "back")
    return bool(back["healthy"]) is expected


def test_hedging_returns_the_first_response_of_two_attempts(mesh: Mesh) -> None:
    on = "attempts: 1, perTryTimeout: 300ms"
    slow = f"{mesh.app('back-1')}/switches/hedged/200?ms=1000,8000"
    mesh.apply(policy("Retry", f"{on}, hedgeOnPerTryTimeout: true"))
    requests.post(slow, timeout=60).raise_for_status()
    response = call(mesh, "/switch/hedged")
    assert response.status_code == 200
    assert 1.0 <= response.elapsed.total_seconds() < 8
    assert reached(mesh, "/switch/hedged") == 2
    mesh.apply(policy("Retry", on))
    requests.post(slow, timeout=60).raise_for_status()
    assert call(mesh, "/switch/hedged").status_code == 504


def test_max_concurrent_streams_opens_another_connection(mesh: Mesh) -> None:
    mesh.apply(policy("ConnectionPool", "maxConcurrentStreams: 1, connectTimeout: 5s"))
    with ThreadPoolExecutor(3) as pool:
        in_flight = [pool.submit(call, mesh, "/delay?ms=5000") for _ in range(3)]
        until(lambda: reached(mesh, "/delay") == 3, "three requests are in flight")
        assert counter(mesh, "upstream_cx_active") == 3
        assert [future.result().status_code for future in in_flight] == [200] * 3
