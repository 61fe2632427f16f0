"""`mesh agent`: a sidecar for an app that something else starts, on another node than the control plane."""

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

from tests.cli.joining import IDENTITY, Joined, command, healthy_instances, starting
from tests.cli.network_namespaces import NodePair, node_pair
from tests.envoy.harness import ROOT, Mesh, running_mesh, service, until
from tests.fakes.ports import free_port

GET = """
import sys, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({'http': sys.argv[1]}))
print(opener.open(sys.argv[2], timeout=20).read().decode())
"""


@pytest.fixture(scope="module")
def nodes() -> Iterator[NodePair]:
    with node_pair() as pair:
        yield pair


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory, nodes: NodePair) -> Iterator[Mesh]:
    """A mesh whose control plane and sidecars are reachable at the local node's address."""
    folder = tmp_path_factory.mktemp("mesh")
    services = [service("front"), service("back")]
    with running_mesh(folder, services, MESH_BIND=nodes.local, MESH_ADVERTISE=nodes.local) as running:
        yield running


@dataclass
class Remote:
    """The remote node: an app that the mesh did not start, and what an agent there needs."""

    nodes: NodePair
    mesh: Mesh
    folder: Path
    token: Path
    app_port: int

    @property
    def state(self) -> Path:
        """The state directory of the agent. The remote node has none of the mesh."""
        return self.folder / "agent-state"

    def argv(self, name: str, *arguments: str) -> list[str]:
        """`mesh agent` on the remote node."""
        free_ports = (
            []
            if self.nodes.isolated
            else ["--outbound-port", "0", "--inbound-port", "0", "--ready-port", "0"]
        )
        target = [
            "--control-plane",
            self.nodes.local,
            "--advertise",
            self.nodes.remote,
            "--bind",
            self.nodes.remote,
        ]
        workload = [
            "--service",
            "remote",
            "--instance",
            name,
            "--port",
            str(self.app_port),
            "--health",
            "/health/ready",
        ]
        files = ["--state", str(self.state), "--token-file", str(self.token)]
        return [*self.nodes.enter, *command("agent", *workload, *files, *target, *free_ports, *arguments)]

    @contextmanager
    def agent(self, name: str) -> Iterator[Joined]:
        """A running agent whose app is healthy."""
        with starting(self.mesh, name, self.state, self.argv(name), MESH_STATE="") as joined:
            yield joined

    @contextmanager
    def app(self) -> Iterator[subprocess.Popen[str]]:
        """The app, not started by the mesh."""
        fake = [sys.executable, "-m", "tests.fakes.app", "--port", str(self.app_port), "--name", "remote"]
        process = subprocess.Popen(
            [*self.nodes.enter, *fake],
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

    def get(self, joined: Joined, url: str) -> subprocess.CompletedProcess[str]:
        """A request as the app on the remote node makes it."""
        proxy = f"http://127.0.0.1:{joined.port('outbound')}"
        argv = [*self.nodes.enter, sys.executable, "-c", GET, proxy, url]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def remote(mesh: Mesh, nodes: NodePair, tmp_path: Path) -> Remote:
    token = tmp_path / "remote.token"
    mesh.run("token", "create", "--service", "remote", "--out", str(token))
    return Remote(nodes, mesh, tmp_path, token, free_port())


def test_two_nodes_call_each_other_under_mutual_tls(mesh: Mesh, remote: Remote) -> None:
    with remote.app(), remote.agent("remote-1") as joined:
        echo = mesh.get("front-1", "http://remote/echo").json()
        assert echo["name"] == "remote"
        assert echo["headers"]["x-forwarded-client-cert"].endswith(f"URI={IDENTITY}/front")
        response = remote.get(joined, "http://back/echo")
        assert response.returncode == 0, response.stderr
        assert json.loads(response.stdout)["headers"]["x-forwarded-client-cert"].endswith(
            f"URI={IDENTITY}/remote"
        )
        assert (
            remote.get(joined, f"http://{remote.nodes.remote}:{joined.port('inbound')}/echo").returncode != 0
        )


def test_the_outbound_port_is_closed_to_other_nodes(remote: Remote) -> None:
    """The outbound port speaks with the identity of the service, so the network must not reach it."""
    with remote.app(), remote.agent("remote-2") as joined:
        direct = f"http://{remote.nodes.remote}:{joined.port('outbound')}/"
        argv = [
            *remote.nodes.enter,
            sys.executable,
            "-c",
            "import sys, urllib.request as u; u.urlopen(sys.argv[1])",
        ]
        done = subprocess.run([*argv, direct], capture_output=True, text=True, timeout=60, check=False)
        assert "Connection refused" in done.stderr


def test_the_app_may_restart_and_the_instance_ends_with_the_agent(mesh: Mesh, remote: Remote) -> None:
    with remote.app() as app, remote.agent("remote-3") as joined:
        app.terminate()
        app.wait(30)
        until(lambda: healthy_instances(mesh, "remote") == 0, "the app is missing")
        with remote.app():
            until(lambda: healthy_instances(mesh, "remote") == 1, "the app is back")
            refused = mesh.run("restart", "remote", check=False)
            assert "started by something else than this agent: restart it there" in refused.stderr
            assert joined.stop(signal.SIGTERM) == 0
            assert not joined.folder.exists()
            until(lambda: healthy_instances(mesh, "remote") == 0, "the instance is gone")


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


def test_a_gateway_runs_on_a_node_of_its_own(mesh: Mesh, nodes: NodePair, tmp_path: Path) -> None:
    """Its address is the source address of its connections to the control plane."""
    policies, token, port = tmp_path / "edge.yaml", tmp_path / "edge.token", free_port()
    policies.write_text(EDGE)
    mesh.run("apply", "-f", str(policies))
    mesh.run("token", "create", "--gateway", "edge", "--out", str(token))
    ports = [
        text for name in ("outbound", "inbound", "ready") for text in (f"--{name}-port", str(free_port()))
    ]
    workload = ["--gateway", "edge", "--listener", f"web={port}", "--instance", "edge-1", *ports]
    target = ["--token-file", str(token), "--control-plane", nodes.local, "--advertise", "auto"]
    bind = [] if nodes.isolated else ["--bind", nodes.remote]
    argv = [*nodes.enter, *command("agent", *workload, *target, *bind, "--state", str(tmp_path / "state"))]
    with starting(mesh, "edge-1", tmp_path / "state", argv, MESH_STATE="", MESH_BIND=""):
        result = until(lambda: echoed(f"http://{nodes.remote}:{port}/echo"), "the gateway listens")
        assert result["headers"]["x-forwarded-client-cert"].endswith("URI=spiffe://mesh.local/gateway/edge")


def echoed(url: str) -> Any:
    """The response of the echo app; None while nothing listens or there is no upstream."""
    try:
        response = requests.get(url, timeout=20)
        response.raise_for_status()
    except requests.RequestException:
        return None
    return response.json()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--service", "front"], "this token is for service remote, not for service front"),
        (
            ["--advertise", "127.0.0.1", "--control-plane", "10.9.8.7"],
            "--advertise: other machines cannot reach 127.0.0.1",
        ),
        (["--bind", "nowhere"], "--bind: 'nowhere' is not an IP address"),
        (["--instance", "Not_A_Name"], "--instance: 'Not_A_Name' is not a valid name"),
        (["--label", "version"], "--label version: expected KEY=VALUE, for example version=v2"),
        (["--port", "grpc"], "--port grpc: expected PORT or NAME=PORT, for example 8000 or grpc=50051"),
        (["--port", "8000", "--port", "8001"], "two ports have the same name"),
        (["--gateway", "edge"], "give exactly one of --service and --gateway"),
        (
            ["--advertise", "auto", "--control-plane", "no.such.host"],
            "--advertise auto: no route to no.such.host",
        ),
        (
            ["--advertise", "10.0.0.1:15006"],
            "--advertise: '10.0.0.1:15006' is not an IP address or host name",
        ),
        (
            ["--advertise", "0.0.0.0"],
            "--advertise: '0.0.0.0' is not an address that other nodes can connect to",
        ),
    ],
)
def test_a_wrong_option_is_reported_in_one_line(remote: Remote, options: list[str], message: str) -> None:
    argv = remote.argv("remote-4", *options)
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=60, env=remote.mesh.environment, cwd=ROOT, check=False
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_revoked_token_cannot_enrol(mesh: Mesh, remote: Remote) -> None:
    with remote.app(), remote.agent("remote-6"):
        token = next(token for token in tokens(mesh) if token["name"] == "remote")
        until(lambda: uses(mesh, token["id"]) == 1, "its use is counted")
        mesh.run("token", "revoke", token["id"])
        options = ["--service", "remote", "--token-file", str(remote.token), "--timeout", "10"]
        options += ["--state", str(mesh.state)]
        free = ["--port", "8000", "--outbound-port", "0", "--inbound-port", "0", "--ready-port", "0"]
        refused = [
            subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=mesh.environment, cwd=ROOT)
            for argv in (command("run", *options, "--", "true"), command("agent", *options, *free))
        ]
        for process in refused:  # side by side, for each waits as long as it may
            _, errors = process.communicate(timeout=60)
            assert process.returncode == 1
            assert "its sidecar is not ready after 10 s" in errors
            assert f"the join token {token['id']} of {IDENTITY}/remote is revoked" in errors
        assert mesh.get("front-1", "http://remote/echo").status_code == 200, "an enrolled sidecar stays"


def tokens(mesh: Mesh) -> list[dict[str, Any]]:
    """`mesh token list`, newest first."""
    result: list[dict[str, Any]] = json.loads(mesh.run("token", "list", "-o", "json").stdout)["items"]
    return result


def uses(mesh: Mesh, id: str) -> int:
    """The number of enrolments with a token."""
    return next(int(token["uses"]) for token in tokens(mesh) if token["id"] == id)


def test_a_file_without_a_token_is_reported(remote: Remote) -> None:
    remote.token.write_text("nothing like a token\n")
    done = subprocess.run(
        remote.argv("remote-5"), capture_output=True, text=True, timeout=60, cwd=ROOT, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"{remote.token}:1:1: not a join token")
