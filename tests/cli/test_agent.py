"""`mesh agent`: a sidecar for an app that others start, on another node than the control plane's."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.cli.apart import Apart, two_places
from tests.cli.joining import IDENTITY, Joined, command, healthy_instances, starting
from tests.envoy.harness import ROOT, Mesh, running_mesh, service, until
from tests.fakes.ports import free_port

ASK = """
import sys, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({'http': sys.argv[1]}))
print(opener.open(sys.argv[2], timeout=20).read().decode())
"""


@pytest.fixture(scope="module")
def places() -> Iterator[Apart]:
    with two_places() as found:
        yield found


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory, places: Apart) -> Iterator[Mesh]:
    """A mesh whose control plane and sidecars are reached by this place's address."""
    folder = tmp_path_factory.mktemp("mesh")
    services = [service("front"), service("back")]
    with running_mesh(folder, services, MESH_BIND=places.here, MESH_ADVERTISE=places.here) as found:
        yield found


@dataclass
class Remote:
    """The other place: an app that nobody of the mesh started, and what an agent there needs."""

    places: Apart
    mesh: Mesh
    folder: Path
    token: Path
    app_port: int

    @property
    def state(self) -> Path:
        """The agent's own state: there is none of the mesh's over there."""
        return self.folder / "agent-state"

    def argv(self, name: str, *arguments: str) -> list[str]:
        """`mesh agent` over there."""
        chosen = (
            [] if self.places.walled else ["--outbound-port", "0", "--inbound-port", "0", "--ready-port", "0"]
        )
        where = [
            "--control-plane",
            self.places.here,
            "--advertise",
            self.places.there,
            "--bind",
            self.places.there,
        ]
        who = [
            "--service",
            "remote",
            "--instance",
            name,
            "--port",
            str(self.app_port),
            "--health",
            "/health/ready",
        ]
        own = ["--state", str(self.state), "--token-file", str(self.token)]
        return [*self.places.enter, *command("agent", *who, *own, *where, *chosen, *arguments)]

    @contextmanager
    def agent(self, name: str) -> Iterator[Joined]:
        """A running agent that found its app healthy."""
        with starting(self.mesh, name, self.state, self.argv(name), MESH_STATE="") as one:
            yield one

    @contextmanager
    def app(self) -> Iterator[subprocess.Popen[str]]:
        """The app, started by others."""
        fake = [sys.executable, "-m", "tests.fakes.app", "--port", str(self.app_port), "--name", "remote"]
        process = subprocess.Popen(
            [*self.places.enter, *fake],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=self.mesh.environment,
        )
        try:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["port"] == self.app_port
            yield process
        finally:
            process.terminate()
            process.wait(20)

    def ask(self, one: Joined, url: str) -> subprocess.CompletedProcess[str]:
        """A request as the app over there makes it."""
        proxy = f"http://127.0.0.1:{one.port('outbound')}"
        argv = [*self.places.enter, sys.executable, "-c", ASK, proxy, url]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def remote(mesh: Mesh, places: Apart, tmp_path: Path) -> Remote:
    token = tmp_path / "remote.token"
    mesh.run("token", "create", "--service", "remote", "--out", str(token))
    return Remote(places, mesh, tmp_path, token, free_port())


def test_calls_go_both_ways_between_two_nodes_under_mutual_tls(mesh: Mesh, remote: Remote) -> None:
    with remote.app(), remote.agent("remote-1") as one:
        there = mesh.get("front-1", "http://remote/echo").json()
        assert there["name"] == "remote"
        assert there["headers"]["x-forwarded-client-cert"].endswith(f"URI={IDENTITY}/front")
        back = remote.ask(one, "http://back/echo")
        assert back.returncode == 0, back.stderr
        assert json.loads(back.stdout)["headers"]["x-forwarded-client-cert"].endswith(
            f"URI={IDENTITY}/remote"
        )
        assert remote.ask(one, f"http://{remote.places.there}:{one.port('inbound')}/echo").returncode != 0


def test_the_apps_call_port_is_for_its_own_node_only(remote: Remote) -> None:
    """Who reaches the outbound port speaks with the service's identity, so the network must not."""
    with remote.app(), remote.agent("remote-2") as one:
        direct = f"http://{remote.places.there}:{one.port('outbound')}/"
        argv = [
            *remote.places.enter,
            sys.executable,
            "-c",
            "import sys, urllib.request as u; u.urlopen(sys.argv[1])",
        ]
        done = subprocess.run([*argv, direct], capture_output=True, text=True, timeout=60, check=False)
        assert "Connection refused" in done.stderr


def test_the_app_may_come_and_go_and_its_node_leaves_with_the_agent(mesh: Mesh, remote: Remote) -> None:
    with remote.app() as app, remote.agent("remote-3") as one:
        app.terminate()
        app.wait(30)
        until(lambda: healthy_instances(mesh, "remote") == 0, "the app is found missing")
        with remote.app():
            until(lambda: healthy_instances(mesh, "remote") == 1, "the app is found again")
            assert one.stop(signal.SIGTERM) == 0
            assert not one.folder.exists()
            until(lambda: healthy_instances(mesh, "remote") == 0, "its node has left")


EDGE = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: meshwright
  listeners: [{name: web, port: 8080, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: edge}
spec:
  parentRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: edge}]
  rules: [{name: all, backendRefs: [{name: back, port: 80}]}]
"""


def test_a_gateway_may_stand_on_a_node_of_its_own(mesh: Mesh, places: Apart, tmp_path: Path) -> None:
    """Its address is the one by which it reaches the control plane."""
    policies, token, port = tmp_path / "edge.yaml", tmp_path / "edge.token", free_port()
    policies.write_text(EDGE)
    mesh.run("apply", "-f", str(policies))
    mesh.run("token", "create", "--gateway", "edge", "--out", str(token))
    ports = [
        each for name in ("outbound", "inbound", "ready") for each in (f"--{name}-port", str(free_port()))
    ]
    who = ["--gateway", "edge", "--listener", f"web={port}", "--instance", "edge-1", *ports]
    where = ["--token-file", str(token), "--control-plane", places.here, "--advertise", "auto"]
    bind = [] if places.walled else ["--bind", places.there]
    argv = [*places.enter, *command("agent", *who, *where, *bind, "--state", str(tmp_path / "state"))]
    with starting(mesh, "edge-1", tmp_path / "state", argv, MESH_STATE="", MESH_BIND=""):
        found = until(lambda: echoed(f"http://{places.there}:{port}/echo"), "the gateway listens")
        assert found["headers"]["x-forwarded-client-cert"].endswith("URI=spiffe://mesh.local/gateway/edge")


def echoed(url: str) -> Any:
    """What an echo answers; nothing while nobody listens or has an upstream."""
    try:
        answer = requests.get(url, timeout=20)
        answer.raise_for_status()
    except requests.RequestException:
        return None
    return answer.json()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["--service", "front"], "is of service remote, not of service front"),
        (["--advertise", "127.0.0.1", "--control-plane", "10.9.8.7"], "--advertise: 127.0.0.1"),
        (["--bind", "nowhere"], "--bind: 'nowhere' is no IP address"),
        (["--instance", "Not_A_Name"], "--instance: 'Not_A_Name' is no name"),
        (["--label", "version"], "--label version: write it like version=v2"),
        (["--port", "grpc"], "--port grpc: write it like 8000, or grpc=50051"),
        (["--port", "8000", "--port", "8001"], "two ports of one name"),
        (["--gateway", "edge"], "name exactly one of --service and --gateway"),
        (
            ["--advertise", "auto", "--control-plane", "no.such.host"],
            "--advertise auto: no way to no.such.host",
        ),
    ],
)
def test_wrong_words_are_told_in_one_line(remote: Remote, changes: list[str], words: str) -> None:
    argv = remote.argv("remote-4", *changes)
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=60, env=remote.mesh.environment, cwd=ROOT, check=False
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_revoked_token_lets_nobody_in(mesh: Mesh, remote: Remote) -> None:
    with remote.app(), remote.agent("remote-6"):
        token = next(one for one in tokens(mesh) if one["name"] == "remote")
        until(lambda: uses(mesh, token["id"]) == 1, "its use is counted")
        mesh.run("token", "revoke", token["id"])
        argv = command("run", "--service", "remote", "--token-file", str(remote.token), "--timeout", "10")
        done = subprocess.run(
            [*argv, "--state", str(mesh.state), "--", "true"],
            capture_output=True,
            text=True,
            timeout=60,
            env=mesh.environment,
            cwd=ROOT,
            check=False,
        )
        assert done.returncode == 1
        assert f"the join token {token['id']} of {IDENTITY}/remote is revoked" in done.stderr
        assert mesh.get("front-1", "http://remote/echo").status_code == 200, "who is in stays"


def tokens(mesh: Mesh) -> list[dict[str, Any]]:
    """`mesh token list`, newest first."""
    found: list[dict[str, Any]] = json.loads(mesh.run("token", "list", "-o", "json").stdout)
    return found


def uses(mesh: Mesh, id: str) -> int:
    """How often a token was used."""
    return next(int(one["uses"]) for one in tokens(mesh) if one["id"] == id)


def test_what_is_no_token_is_told(remote: Remote) -> None:
    remote.token.write_text("nothing like a token\n")
    done = subprocess.run(
        remote.argv("remote-5"), capture_output=True, text=True, timeout=60, cwd=ROOT, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"{remote.token}:1:1: not a join token")
