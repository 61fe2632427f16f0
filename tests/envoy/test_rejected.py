"""A policy that passes validation and that Envoy rejects: traffic continues, and the rejection is shown."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from meshwright.control_plane.policies import re2
from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.marked_routes import MARK_RULE, REJECTED_RULE, mark_of_back
from tests.envoy.strict_envoy import ERROR, PATTERN, write_strict_envoy

ROUTES = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: ingress}
spec:
  parentRefs: [{kind: Gateway, name: ingress}]
  rules: [%s{backendRefs: [{name: front}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: back}
spec:
  parentRefs: [{kind: Service, group: "", name: back}]
  rules: [%s{backendRefs: [{name: back}]}]
"""

BREAKER = """
apiVersion: meshwright.io/v1
kind: CircuitBreaker
metadata: {name: front}
spec: {targetRefs: [{kind: Service, name: front}], maxRequests: 500}
"""


def valid_routes(mark: str) -> str:
    """Routes that mark every response."""
    return ROUTES % (MARK_RULE % (mark, "front"), MARK_RULE % (mark, "back"))


REJECTED = ROUTES % (REJECTED_RULE, REJECTED_RULE)


@pytest.fixture(scope="module")
def strict_envoy(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_strict_envoy(tmp_path_factory.mktemp("envoy"))


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory, strict_envoy: str) -> Iterator[Mesh]:
    services = [service("front", replicas=2), service("back")]
    folder = tmp_path_factory.mktemp("mesh")
    with running_mesh(folder, services, MESH_ENVOY=strict_envoy, MESH_VERIFY="off") as running:
        running.apply(valid_routes("first"))
        for name in ("front-1", "front-2"):
            until(lambda name=name: mark_of_back(running, name) == "first", "every sidecar has the routes")  # type: ignore[misc]
        yield running


def call_ingress(mesh: Mesh) -> str:
    """The mark on a response through the ingress: the status if it is not 200, "" if it does not listen."""
    try:
        response = mesh.outside("/echo", timeout=30)
    except requests.ConnectionError:
        return ""
    return (
        response.headers.get("x-revision", "") if response.status_code == 200 else str(response.status_code)
    )


@contextmanager
def load(mesh: Mesh) -> Iterator[Counter[str]]:
    """Requests through the ingress and between sidecars, one after the other; counts the responses."""
    responses: Counter[str] = Counter()
    stop = threading.Event()

    def repeat(request: Callable[[], str]) -> None:
        while not stop.is_set():
            responses[request()] += 1
            time.sleep(0.002)

    threads = [
        threading.Thread(target=repeat, args=(request,), daemon=True)
        for request in (lambda: mark_of_back(mesh, "front-1"), lambda: call_ingress(mesh))
    ]
    for thread in threads:
        thread.start()
    try:
        yield responses
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)


def proxies(mesh: Mesh) -> dict[str, dict[str, Any]]:
    return {proxy["name"]: proxy for proxy in json.loads(mesh.run("proxies", "-o", "json").stdout)["items"]}


def pushes(mesh: Mesh) -> dict[str, float]:
    """The control plane's counters of responses and NACKs."""
    url = json.loads((mesh.state / "mesh.json").read_text())["admin"]
    lines = requests.get(f"{url}/metrics", timeout=60).text.splitlines()
    counters = (
        line for line in lines if line.startswith(("mesh_xds_pushes_total{", "mesh_xds_nacks_total{"))
    )
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in counters)}


def restart_proxy(mesh: Mesh, name: str) -> None:
    """Kill an Envoy, and wait until the agent has started another one."""
    before = mesh.pid(f"{name}.proxy")
    os.kill(before, signal.SIGKILL)

    def is_restarted() -> bool:
        try:
            return mesh.pid(f"{name}.proxy") != before
        except (OSError, ValueError):
            return False

    until(is_restarted, f"another proxy of {name}")


def test_validation_accepts_the_pattern() -> None:
    assert re2.check(PATTERN) == PATTERN


def test_rejected_configuration_traffic_continues_and_it_is_shown(mesh: Mesh, tmp_path: Path) -> None:
    (tmp_path / "rejected.yaml").write_text(REJECTED)
    with load(mesh) as responses:
        until(lambda: responses["first"] > 50, "requests flow")
        ran = mesh.run("apply", "-f", str(tmp_path / "rejected.yaml"), "--wait", check=False)
        assert ran.returncode == 5, ran.stderr
        assert f"rejected revision 2: VirtualHost out/back: {ERROR}" in ran.stderr
        assert f"ingress: rejected revision 2: RouteConfiguration ingress: {ERROR}" in ran.stderr

        status = mesh.status()
        by_name = {proxy["name"]: proxy for proxy in status["proxies"]}
        for name in ("front-1", "front-2", "ingress"):
            assert (by_name[name]["state"], by_name[name]["revision"]) == ("rejected", 1)
            assert ERROR in by_name[name]["error"]
        assert by_name["back-1"]["state"] == "synced"
        for policy in status["policies"]:
            conditions = {condition["type"]: condition for condition in policy["conditions"]}
            assert conditions["Rejected"]["status"] == "True"
            assert ERROR in conditions["Rejected"]["message"]
            assert conditions["Programmed"]["status"] == "False"
        listed = mesh.run("proxies").stdout
        assert listed.splitlines()[1].split()[2:4] == ["×", "rejected"]
        assert ERROR in listed

        before, since = pushes(mesh), responses["first"]
        until(lambda: responses["first"] > since + 300, "requests continue", within=100)
        assert pushes(mesh) == before, "a resource was pushed again"
    assert set(responses) == {"first"}, responses


def test_later_change_is_not_blamed_for_an_older_rejection(mesh: Mesh, tmp_path: Path) -> None:
    assert {proxy["name"] for proxy in mesh.status()["proxies"] if proxy["state"] == "rejected"}
    ran = mesh.run("apply", "-f", "-", "--wait", stdin=BREAKER)
    (warning,) = ran.stderr.splitlines()
    assert re.match(r"warning: this change is applied, but .* still reject revision 2: ", warning)
    assert ERROR in warning
    (tmp_path / "rejected.yaml").write_text(REJECTED)
    again = mesh.run("apply", "-f", str(tmp_path / "rejected.yaml"), "--wait", check=False)
    assert again.returncode == 5, again.stderr
    assert "HTTPRoute/back: rejected earlier: " in again.stderr
    mesh.delete("circuitbreaker", "front")
    other = REJECTED.replace("/x}", "/y}")
    assert mesh.run("apply", "-f", "-", "--wait", stdin=other, check=False).returncode == 5


def test_new_sidecars_start_with_the_last_good_version(mesh: Mesh) -> None:
    assert {proxy["name"] for proxy in mesh.status()["proxies"] if proxy["state"] == "rejected"} >= {
        "front-2",
        "ingress",
    }
    for name in ("front-2", "ingress"):
        restart_proxy(mesh, name)
    until(lambda: call_ingress(mesh) == "first", "the ingress serves the last good version")
    until(lambda: mark_of_back(mesh, "front-2") == "first", "a new sidecar does too")
    until(lambda: proxies(mesh)["front-2"]["state"] == "rejected", "and reports what it rejected")
    until(lambda: ERROR in proxies(mesh)["ingress"]["error"], "and so does the ingress")


def test_next_valid_version_is_applied(mesh: Mesh) -> None:
    with load(mesh) as responses:
        until(lambda: responses["first"] > 50, "requests flow")
        mesh.apply(valid_routes("second"))
        until(lambda: responses["second"] > 50, "the new routes are in force")
    assert set(responses) == {"first", "second"}, responses
    assert mark_of_back(mesh, "front-2") == "second"
    status = mesh.status()
    assert {proxy["state"] for proxy in status["proxies"]} == {"synced"}
    assert not [
        condition
        for policy in status["policies"]
        for condition in policy["conditions"]
        if condition["type"] == "Rejected"
    ]


def test_mesh_starts_with_a_rejected_configuration(tmp_path: Path, strict_envoy: str) -> None:
    services = [service("front"), service("back")]
    started_staged = partial(
        running_mesh, tmp_path, services, MESH_ENVOY=strict_envoy, MESH_VERIFY="off", MESH_PUSH="staged"
    )
    with started_staged() as mesh:
        mesh.run("apply", "-f", "-", stdin=REJECTED)
    with started_staged() as mesh:
        message = "healthy, but its Envoy rejects configuration: RouteConfiguration ingress"
        until(lambda: message in "".join(mesh.output), "mesh up reports the rejection")
        assert mesh.get("back-1", "http://front/echo", timeout=60).status_code == 200
        started = time.monotonic()
        assert mark_of_back(mesh, "front-1").startswith("404")
        assert time.monotonic() - started < 10, "a virtual host that was never accepted responds at once"
        mesh.apply(valid_routes("later"))
        until(lambda: call_ingress(mesh) == "later", "the ingress serves the good routes")
        until(lambda: mark_of_back(mesh, "front-1") == "later", "and so does the sidecar")
