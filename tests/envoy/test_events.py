"""Events of a real mesh: new policies, NACKs, breakers, certificates, replicas that die."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cli.joining import joined
from tests.envoy.harness import ROOT, Mesh, running_mesh, service, until
from tests.envoy.mesh_api import find_event
from tests.envoy.strict_envoy import ERROR, PATTERN, write_strict_envoy

BREAKER = """
apiVersion: meshwright.io/v1
kind: CircuitBreaker
metadata: {name: back}
spec: {targetRefs: [{kind: Service, name: back}], consecutiveFailures: 5, openFor: 10s}
"""
REJECTED = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: back}
spec:
  parentRefs: [{kind: Service, group: "", name: back}]
  rules:
    - matches: [{path: {type: RegularExpression, value: 'PATTERN'}}]
      filters:
        - {type: RequestRedirect, requestRedirect: {path: {type: ReplaceFullPath, replaceFullPath: /x}}}
    - backendRefs: [{name: back}]
""".replace("PATTERN", PATTERN)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    services = [service("front"), service("back", replicas=2)]
    envoy = write_strict_envoy(tmp_path_factory.mktemp("envoy"))
    folder = tmp_path_factory.mktemp("mesh")
    with running_mesh(folder, services, MESH_ENVOY=envoy, MESH_VERIFY="off") as running:
        yield running


@pytest.fixture
def follower(mesh: Mesh) -> Iterator[list[dict[str, Any]]]:
    """The output of `mesh events -f -o json` from now on."""
    command = [sys.executable, "-m", "meshwright.cli", "events", "-f", "-o", "json", "-n", "1000"]
    process = subprocess.Popen(
        [*command, "--state", str(mesh.state)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=mesh.environment,
        cwd=ROOT,
    )
    followed: list[dict[str, Any]] = []

    def read() -> None:
        assert process.stdout
        for line in process.stdout:
            followed.append(json.loads(line))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    yield followed
    process.send_signal(signal.SIGINT)
    assert process.stderr
    errors = process.stderr.read()
    assert (process.wait(30), errors) == (0, "")
    reader.join(5)


def test_changes_of_a_running_mesh_are_events(mesh: Mesh, follower: list[dict[str, Any]]) -> None:
    for name in ("front-1", "back-1", "back-2", "ingress"):
        until(lambda name=name: find_event(mesh, "sidecar", name, "connected"), f"{name} connected")  # type: ignore[misc]
    for identity in ("front", "back", "ingress"):
        until(
            lambda identity=identity: find_event(mesh, "svid", f"/{identity}", "certificate issued"),  # type: ignore[misc]
            f"the certificate of {identity}",
        )

    mesh.run("apply", "-f", "-", "--wait", "-m", "shield the back", stdin=BREAKER)
    revision = until(lambda: find_event(mesh, "revision", "", "CircuitBreaker/back"), "the new revision")
    assert "created CircuitBreaker/back: shield the back" in revision["message"]
    author = revision["author"]
    assert "@" in author

    expect_breaker_events(mesh)
    expect_nack_events(mesh, author)
    expect_lease_event(mesh)

    table = mesh.run("events", "-n", "1000").stdout
    assert f"by {author}" in table
    assert ERROR in table
    ids = {
        event["id"] for event in json.loads(mesh.run("events", "-n", "1000", "-o", "json").stdout)["items"]
    }
    until(lambda: {event["id"] for event in follower} >= ids, "the follower has received all events")
    followed = [event["id"] for event in follower]
    assert len(followed) == len(set(followed))


def expect_breaker_events(mesh: Mesh) -> None:
    assert mesh.get("front-1", "http://back/echo").status_code == 200
    for _ in range(20):
        mesh.get("front-1", "http://back/status/500")
    opened = until(
        lambda: find_event(mesh, "breaker", "front → back", "opened: 2 of 2 hosts ejected"),
        "the breaker opened",
    )
    assert opened["severity"] == "error"
    until(lambda: find_event(mesh, "ejection", "front → back", "back-1 ejected"), "the ejected host")
    until(lambda: find_event(mesh, "breaker", "front → back", "closed"), "the breaker closed")
    until(
        lambda: find_event(mesh, "ejection", "front → back", "back-1 no longer ejected"), "the host is back"
    )


def expect_nack_events(mesh: Mesh, author: str) -> None:
    mesh.run("apply", "-f", "-", "-m", "a bad pattern", stdin=REJECTED)
    rejected = until(lambda: find_event(mesh, "nack", "front-1", ERROR), "Envoy's message")
    assert (rejected["severity"], rejected["author"]) == ("error", author)
    mesh.delete("HTTPRoute", "back")
    until(
        lambda: find_event(mesh, "nack", "front-1", "accepts its configuration again"),
        "the end of the rejection",
    )


def expect_lease_event(mesh: Mesh) -> None:
    app = (sys.executable, "-m", "tests.fakes.app")
    with joined(mesh, "back-9", "back", "--port", "0", run=app) as workload:
        until(lambda: find_event(mesh, "sidecar", "back-9", "connected"), "back-9 connected")
        workload.kill()
        expired = until(lambda: find_event(mesh, "lease", "back-9", "back lost back-9"), "the lease")
        assert expired["severity"] == "warning"
        until(lambda: find_event(mesh, "sidecar", "back-9", "disconnected"), "its sidecar")


def test_the_mesh_of_a_moment_ago_is_shown_as_it_was(mesh: Mesh) -> None:
    mesh.run("apply", "-f", "-", stdin=BREAKER)
    newest = json.loads(mesh.run("status", "-o", "json").stdout)["revision"]

    def recorded() -> Any:
        past = json.loads(mesh.run("at", "0s", "-o", "json").stdout)
        return past["moment"]["revision"] >= newest and past

    past = until(recorded, "a moment after the change", within=60, every=1)
    assert past["info"]["revision"] == past["moment"]["revision"]
    assert "CircuitBreaker/back" in past["policies"]
    rows = {row["name"]: row for row in past["moment"]["services"]["services"]}
    assert rows["back"]["instances"] >= 1
    assert past["events"]
    oldest = past["recorded"]["oldest"]
    first = json.loads(mesh.run("at", oldest, "-o", "json").stdout)
    assert (first["recorded"]["oldest"], first["recorded"]["earlier"]) == (oldest, None)
    assert mesh.run("at", "-2h", check=False).returncode == 2
