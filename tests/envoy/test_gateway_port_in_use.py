"""A Gateway with a port that another process has: it is rejected, and costs nothing else."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import requests

from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.fakes.ports import free_port

ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: front}
spec:
  parentRefs: [{kind: Gateway, name: ingress}]
  rules: [{backendRefs: [{name: front}]}]
"""

GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: ingress}
spec:
  gatewayClassName: meshwright
  listeners:
    - {name: http, port: %d, protocol: HTTP}
    - {name: extra, port: %d, protocol: HTTP}
"""

TIMEOUT = """
apiVersion: meshwright.io/v1
kind: Timeout
metadata: {name: front}
spec: {targetRefs: [{kind: Service, name: front}], request: 9s}
"""


def serves(port: int) -> bool:
    """Whether the gateway responds at a port."""
    try:
        return requests.get(f"http://127.0.0.1:{port}/echo", timeout=30).status_code == 200
    except requests.ConnectionError:
        return False


def kill_ingress(mesh: Mesh) -> None:
    """Kill the Envoy of the ingress, and wait until the agent has started another one."""
    killed = mesh.pid("ingress.proxy")
    os.kill(killed, signal.SIGKILL)

    def is_restarted() -> bool:
        try:
            return mesh.pid("ingress.proxy") != killed
        except (OSError, ValueError):
            return False

    until(is_restarted, "another Envoy of the ingress")


def test_gateway_serves_its_other_ports_also_after_a_restart_and_takes_a_good_change(tmp_path: Path) -> None:
    with running_mesh(tmp_path, [service("front")]) as mesh, socket.create_server(("127.0.0.1", 0)) as other:
        mesh.apply(ROUTE)
        until(lambda: serves(mesh.ingress_port), "the ingress serves")
        taken = other.getsockname()[1]
        text = GATEWAY % (mesh.ingress_port, taken)
        rejected = mesh.run("apply", "-f", "-", "--wait", "--no-strict", stdin=text, check=False)
        assert rejected.returncode == 5, rejected.stderr
        assert str(taken) in rejected.stderr and "in use" in rejected.stderr, rejected.stderr
        assert serves(mesh.ingress_port)

        later = mesh.run("apply", "-f", "-", "--wait", "--no-strict", stdin=TIMEOUT)
        assert "still reject" in later.stderr or not later.stderr, later.stderr
        kill_ingress(mesh)
        until(lambda: serves(mesh.ingress_port), "the ingress serves after a restart")

        free = free_port()
        mesh.apply(GATEWAY % (mesh.ingress_port, free))
        until(lambda: serves(free), "the new listener serves")
        assert serves(mesh.ingress_port)
