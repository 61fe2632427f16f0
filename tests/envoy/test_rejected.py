"""A policy that is valid for us and that Envoy refuses: nobody is harmed, everybody is told."""

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
from pathlib import Path
from typing import Any

import pytest
import requests

from meshwright.control_plane.policies import re2
from tests.envoy.harness import Mesh, running_mesh, service, until

PATTERN = r"/[\b]+"
"""Python takes it (a backspace in a class); RE2 has no such escape there."""

WORDS = "invalid escape sequence"

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
NEVER = """{
    matches: [{path: {type: RegularExpression, value: '%s'}}],
    filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplaceFullPath, replaceFullPath: /x}}}]
  }, """
MARK = """{
    filters: [{type: ResponseHeaderModifier,
      responseHeaderModifier: {set: [{name: x-revision, value: '%s'}]}}],
    backendRefs: [{name: %s}]
  }, """


BREAKER = """
apiVersion: meshwright.io/v1
kind: CircuitBreaker
metadata: {name: front}
spec: {targetRefs: [{kind: Service, name: front}], maxRequests: 500}
"""


def good(mark: str) -> str:
    """Routes that mark every answer."""
    return ROUTES % (MARK % (mark, "front"), MARK % (mark, "back"))


BAD = ROUTES % (NEVER % PATTERN, NEVER % PATTERN)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    services = [service("front", replicas=2), service("back")]
    with running_mesh(tmp_path_factory.mktemp("mesh"), services) as actual_mesh:
        actual_mesh.apply(good("first"))
        for name in ("front-1", "front-2"):
            until(lambda name=name: call(actual_mesh, name) == "first", "every sidecar has the routes")  # type: ignore[misc]
        yield actual_mesh


def call(mesh: Mesh, name: str) -> str:
    """The mark on an answer of back to the sidecar `name`; the status when it is no 200; empty for none."""
    try:
        response = mesh.get(name, "http://back/echo", timeout=30)
    except requests.ConnectionError:
        return ""
    return (
        response.headers.get("x-revision", "") if response.status_code == 200 else str(response.status_code)
    )


def enter(mesh: Mesh) -> str:
    """The same through the ingress; empty when it does not listen."""
    try:
        response = mesh.outside("/echo", timeout=30)
    except requests.ConnectionError:
        return ""
    return (
        response.headers.get("x-revision", "") if response.status_code == 200 else str(response.status_code)
    )


@contextmanager
def load(mesh: Mesh) -> Iterator[Counter[str]]:
    """Requests through the ingress and between sidecars, one after the other; counts what was answered."""
    counter: Counter[str] = Counter()
    stop = threading.Event()

    def ask(what: Callable[[], str]) -> None:
        while not stop.is_set():
            counter[what()] += 1
            time.sleep(0.002)

    threads = [
        threading.Thread(target=ask, args=(what,), daemon=True)
        for what in (lambda: call(mesh, "front-1"), lambda: enter(mesh))
    ]
    for thread in threads:
        thread.start()
    try:
        yield counter
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)


def proxies(mesh: Mesh) -> dict[str, dict[str, Any]]:
    return {proxy["name"]: proxy for proxy in json.loads(mesh.run("proxies", "-o", "json").stdout)["proxies"]}


def pushes(mesh: Mesh) -> dict[str, float]:
    """The control plane's counters of responses and refusals."""
    url = json.loads((mesh.state / "mesh.json").read_text())["admin"]
    lines = requests.get(f"{url}/metrics", timeout=10).text.splitlines()
    expected = (
        line for line in lines if line.startswith(("mesh_xds_pushes_total{", "mesh_xds_nacks_total{"))
    )
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in expected)}


def restart_proxy(mesh: Mesh, name: str) -> None:
    """Kill an Envoy; returns when the agent has another one."""
    before = mesh.pid(f"{name}.proxy")
    os.kill(before, signal.SIGKILL)

    def other() -> bool:
        try:
            return mesh.pid(f"{name}.proxy") != before
        except (OSError, ValueError):
            return False

    until(other, f"another proxy of {name}")


def test_our_validation_accepts_it() -> None:
    assert re2.check(PATTERN) == PATTERN


def test_what_envoy_refuses_harms_nobody_and_is_told(mesh: Mesh, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(BAD)
    with load(mesh) as document:
        until(lambda: document["first"] > 50, "requests flow")
        ran = mesh.run("apply", "-f", str(tmp_path / "bad.yaml"), "--wait", check=False)
        assert ran.returncode == 5, ran.stderr
        assert f"rejected revision 2: VirtualHost out/back: {WORDS}" in ran.stderr
        assert f"ingress: rejected revision 2: RouteConfiguration ingress: {WORDS}" in ran.stderr

        status = mesh.status()
        value = {proxy["name"]: proxy for proxy in status["proxies"]}
        for name in ("front-1", "front-2", "ingress"):
            assert (value[name]["state"], value[name]["revision"]) == ("rejected", 1)
            assert WORDS in value[name]["error"]
        assert value["back-1"]["state"] == "synced"
        for policy in status["policies"]:
            conditions = {condition["type"]: condition for condition in policy["conditions"]}
            assert conditions["Rejected"]["status"] == "True"
            assert WORDS in conditions["Rejected"]["message"]
            assert conditions["Programmed"]["status"] == "False"
        listed = mesh.run("proxies").stdout
        assert listed.splitlines()[1].split()[2:4] == ["✖", "rejected"]
        assert WORDS in listed

        before, since = pushes(mesh), document["first"]
        until(lambda: document["first"] > since + 300, "requests flow on", within=100)
        assert pushes(mesh) == before, "something was sent again"
    assert set(document) == {"first"}, document


def test_a_change_that_others_take_is_not_judged_by_an_older_refusal(mesh: Mesh, tmp_path: Path) -> None:
    assert {proxy["name"] for proxy in mesh.status()["proxies"] if proxy["state"] == "rejected"}
    ran = mesh.run("apply", "-f", "-", "--wait", stdin=BREAKER)
    (warning,) = ran.stderr.splitlines()
    assert re.match(r"warning: this change is applied, but .* still reject revision 2: ", warning)
    assert WORDS in warning
    (tmp_path / "bad.yaml").write_text(BAD)
    again = mesh.run("apply", "-f", str(tmp_path / "bad.yaml"), "--wait", check=False)
    assert again.returncode == 5, again.stderr
    assert "HTTPRoute/back: rejected earlier: " in again.stderr
    mesh.delete("circuitbreaker", "front")
    other = BAD.replace("/x}", "/y}")
    assert mesh.run("apply", "-f", "-", "--wait", stdin=other, check=False).returncode == 5


def test_new_sidecars_boot_with_the_last_good_version(mesh: Mesh) -> None:
    assert {proxy["name"] for proxy in mesh.status()["proxies"] if proxy["state"] == "rejected"} >= {
        "front-2",
        "ingress",
    }
    for name in ("front-2", "ingress"):
        restart_proxy(mesh, name)
    until(lambda: enter(mesh) == "first", "the ingress serves the last good version")
    until(lambda: call(mesh, "front-2") == "first", "a new sidecar does too")
    until(lambda: proxies(mesh)["front-2"]["state"] == "rejected", "and says what it refused")
    until(lambda: WORDS in proxies(mesh)["ingress"]["error"], "and so does the ingress")


def test_the_next_good_version_is_applied(mesh: Mesh) -> None:
    with load(mesh) as document:
        until(lambda: document["first"] > 50, "requests flow")
        mesh.apply(good("second"))
        until(lambda: document["second"] > 50, "the new routes are in force")
    assert set(document) == {"first", "second"}, document
    assert call(mesh, "front-2") == "second"
    status = mesh.status()
    assert {proxy["state"] for proxy in status["proxies"]} == {"synced"}
    assert not [
        condition
        for policy in status["policies"]
        for condition in policy["conditions"]
        if condition["type"] == "Rejected"
    ]


def test_a_mesh_starts_with_it_applied(tmp_path: Path) -> None:
    services = [service("front"), service("back")]
    with running_mesh(tmp_path, services) as mesh:
        mesh.run("apply", "-f", "-", stdin=BAD)
    with running_mesh(tmp_path, services) as mesh:
        words = "healthy, but its Envoy refuses: RouteConfiguration ingress"
        until(lambda: words in "".join(mesh.output), "it is said")
        assert mesh.get("back-1", "http://front/echo", timeout=10).status_code == 200
        began = time.monotonic()
        assert call(mesh, "front-1") == "404"
        assert time.monotonic() - began < 10, "what nobody ever took is answered at once"
        mesh.apply(good("later"))
        until(lambda: enter(mesh) == "later", "the ingress serves the good routes")
        until(lambda: call(mesh, "front-1") == "later", "and so does the sidecar")
