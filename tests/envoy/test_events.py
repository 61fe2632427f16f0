"""What happens to a real mesh is told: policies, refusals by Envoy, breakers, replicas that die."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.cli.joining import joined
from tests.envoy.harness import ROOT, Mesh, running_mesh, service, until

BREAKER = """
apiVersion: meshwright.io/v1
kind: CircuitBreaker
metadata: {name: back}
spec: {targetRefs: [{kind: Service, name: back}], consecutiveFailures: 5, openFor: 10s}
"""
REFUSED = r"""
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: back}
spec:
  parentRefs: [{kind: Service, group: "", name: back}]
  rules:
    - matches: [{path: {type: RegularExpression, value: '/[\b]+'}}]
      filters:
        - {type: RequestRedirect, requestRedirect: {path: {type: ReplaceFullPath, replaceFullPath: /x}}}
    - backendRefs: [{name: back}]
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    services = [service("front"), service("back", replicas=2)]
    with running_mesh(tmp_path_factory.mktemp("mesh"), services) as actual_mesh:
        yield actual_mesh


@pytest.fixture
def follower(mesh: Mesh) -> Iterator[list[dict[str, Any]]]:
    """What `mesh events -f -o json` shows from now on."""
    command = [sys.executable, "-m", "meshwright.cli", "events", "-f", "-o", "json", "-n", "1000"]
    process = subprocess.Popen(
        [*command, "--state", str(mesh.state)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=mesh.environment,
        cwd=ROOT,
    )
    seen: list[dict[str, Any]] = []

    def read() -> None:
        assert process.stdout
        for line in process.stdout:
            seen.append(json.loads(line))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    yield seen
    process.send_signal(signal.SIGINT)
    assert process.stderr
    words = process.stderr.read()
    assert (process.wait(30), words) == (0, "")
    reader.join(5)


def told(mesh: Mesh, kind: str, subject: str, words: str) -> dict[str, Any] | None:
    """The newest event like that."""
    events = json.loads(mesh.run("events", "-o", "json", "-n", "1000", "--kind", kind).stdout)["events"]
    like = [item for item in events if subject in item["subject"] and words in item["message"]]
    return like[-1] if like else None


def test_what_happens_is_told_by_author_and_words(mesh: Mesh, follower: list[dict[str, Any]]) -> None:
    for name in ("front-1", "back-1", "back-2", "ingress"):
        until(lambda name=name: told(mesh, "sidecar", name, "connected"), f"{name} connected")  # type: ignore[misc]
    for identity in ("front", "back", "ingress"):
        until(
            lambda identity=identity: told(mesh, "svid", f"/{identity}", "certificate issued"),  # type: ignore[misc]
            f"the certificate of {identity}",
        )

    mesh.run("apply", "-f", "-", "--wait", "-m", "shield the back", stdin=BREAKER)
    result = until(lambda: told(mesh, "revision", "", "CircuitBreaker/back"), "the new revision")
    assert "created CircuitBreaker/back: shield the back" in result["message"]
    author = result["author"]
    assert "@" in author

    assert mesh.get("front-1", "http://back/echo").status_code == 200
    for _ in range(20):
        mesh.get("front-1", "http://back/status/500")
    opened = until(
        lambda: told(mesh, "breaker", "front → back", "opened: 2 of 2 hosts ejected"), "the breaker opened"
    )
    assert opened["severity"] == "error"
    until(lambda: told(mesh, "ejection", "front → back", "back-1 is taken out"), "the host that is out")
    until(lambda: told(mesh, "breaker", "front → back", "closed"), "the breaker closed")
    until(lambda: told(mesh, "ejection", "front → back", "back-1 is let back"), "the host that is back")

    mesh.run("apply", "-f", "-", "-m", "a bad pattern", stdin=REFUSED)
    refused = until(lambda: told(mesh, "nack", "front-1", "invalid escape sequence"), "Envoy's words")
    assert (refused["severity"], refused["author"]) == ("error", author)
    mesh.delete("HTTPRoute", "back")
    until(lambda: told(mesh, "nack", "front-1", "takes its configuration again"), "the end of it")

    with joined(mesh, "back-9", "back", "--port", "0", run=(sys.executable, "-m", "tests.fakes.app")) as more:
        until(lambda: told(mesh, "sidecar", "back-9", "connected"), "back-9 connected")
        kill(psutil.Process(more.process.pid))
        lost = until(lambda: told(mesh, "lease", "back-9", "back lost back-9"), "the lease")
        assert lost["severity"] == "warning"
        until(lambda: told(mesh, "sidecar", "back-9", "disconnected"), "its sidecar")

    table = mesh.run("events", "-n", "1000").stdout
    assert f"by {author}" in table
    assert "invalid escape sequence" in table
    ids = {
        event["id"] for event in json.loads(mesh.run("events", "-n", "1000", "-o", "json").stdout)["events"]
    }
    until(lambda: {item["id"] for item in follower} >= ids, "the follower has seen them all")
    seen = [item["id"] for item in follower]
    assert len(seen) == len(set(seen))


def kill(agent: psutil.Process) -> None:
    """End an agent and all that it started, the agent first: it must not tell anybody."""
    for process in [agent, *agent.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
