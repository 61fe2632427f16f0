"""Streams of a minute through gateway and sidecar, while control plane, agent and Envoys are replaced.

Bytes flow in both directions all the time: WebSockets, gRPC streams, plain TCP, an upload and a download.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conversations import (
    Conversation,
    Download,
    GrpcConversation,
    TcpConversation,
    Upload,
    WebSocketConversation,
)
from tests.cli.joining import joined
from tests.cli.test_up import recorded
from tests.cli.test_upgrade_envoys import upgrade
from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.steady_load import load
from tests.envoy.test_tcp import NUMBER, address, tcp
from tests.fakes.ports import free_port

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

SECONDS = 60.0

ROUTES = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop}
spec:
  parentRefs: [{kind: Gateway, name: ingress}]
  hostnames: [shop]
  rules: [{backendRefs: [{name: shop}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: echo}
spec:
  parentRefs: [{kind: Gateway, name: ingress}]
  hostnames: [echo]
  rules: [{backendRefs: [{name: echo}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: ingress}
spec:
  listeners:
    - {name: http, port: %d, protocol: HTTP}
    - {name: plain, port: %d, protocol: TCP}
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: plain}
spec:
  parentRefs: [{kind: Gateway, name: ingress, sectionName: plain}]
  rules: [{backendRefs: [{name: plain, port: %d}]}]
"""


def services() -> list[dict[str, Any]]:
    """`front` calls the others through its sidecar."""
    rpc = {
        **service("echo"),
        "command": [sys.executable, "-m", "tests.fakes.grpc_app"],
        "ports": [{"name": "grpc", "protocol": "grpc"}],
        "health": {"interval": "1s"},
    }
    return [{**service("front"), "upstreams": ["plain"]}, service("shop"), rpc, tcp("plain", "v1")]


def conversations(port: int, plain: tuple[str, int]) -> list[Conversation]:
    """One of each kind by a port for HTTP, and a TCP connection to `plain`."""
    return [
        *(kind(port, "shop") for kind in (WebSocketConversation, Upload, Download)),
        GrpcConversation(port, "echo"),
        TcpConversation(plain[1], "plain", plain[0]),
    ]


def begin(running: list[Conversation]) -> None:
    """Start them, and see that each goes on."""
    for conversation in running:
        conversation.start()
    all_go_on(running)


def ended(running: list[Conversation]) -> None:
    """End them, and see that nothing was lost."""
    outcomes = {str(conversation): conversation.finish() for conversation in running}
    assert set(outcomes.values()) == {"end"}, outcomes


def all_go_on(running: list[Conversation]) -> None:
    """Wait until each has had five more exchanges."""
    marks = [conversation.exchanges + 5 for conversation in running]

    def reached() -> bool:
        broken = [f"{each}: {each.outcome}" for each in running if each.outcome]
        assert not broken, broken
        return all(each.exchanges >= mark for each, mark in zip(running, marks, strict=True))

    until(reached, "each conversation goes on")


def kill(mesh: Mesh, name: str) -> None:
    """Kill a part of the mesh, and wait until its successor works."""
    before = mesh.pid(name)
    os.kill(before, signal.SIGKILL)
    until(lambda: recorded(mesh.state).get(name, before) != before, f"{name} runs again")
    until(lambda: mesh.is_sound(proxies=5), "the mesh is sound", every=0.5)


def test_streams_outlive_control_plane_and_agent(tmp_path: Path) -> None:
    plain_port = free_port()
    with running_mesh(tmp_path, services()) as mesh, ExitStack() as stack:
        stack.callback(mesh.run, "down")  # the `mesh up` of an upgrade is in the background
        mesh.apply(ROUTES % (mesh.ingress_port, plain_port, NUMBER))
        envoys = {name: mesh.pid(f"{name}.proxy") for name in ("ingress", "front-1", "shop-1")}
        loads = []
        for name, port in (("gateway", mesh.ingress_port), ("sidecar", mesh.ports("front-1")["outbound"])):
            (tmp_path / name).mkdir()
            url = f"http://127.0.0.1:{port}/echo"
            loads.append(stack.enter_context(load(tmp_path / name, url, "Host: shop")))
        running, began = conversations(mesh.ingress_port, ("127.0.0.1", plain_port)), time.monotonic()
        running += conversations(mesh.ports("front-1")["outbound"], address(mesh, "plain"))
        begin(running)
        for step in (
            lambda: kill(mesh, "control-plane"),
            lambda: kill(mesh, "agent"),
            lambda: upgrade(mesh, "--force"),
        ):
            step()
            all_go_on(running)
        until(lambda: time.monotonic() - began > SECONDS, "a minute")
        ended(running)
        assert {name: mesh.pid(f"{name}.proxy") for name in envoys} == envoys
        stack.close()
        for result in loads:
            assert result.requests > 500 and result.failed == 0, result.report


def test_streams_outlive_the_hot_restart_of_every_envoy_on_their_way(tmp_path: Path) -> None:
    """Through the gateway of a `mesh up` to instances of `mesh run`."""
    plain_port = free_port()
    with running_mesh(tmp_path, [service("front")]) as mesh, ExitStack() as stack:
        before = []
        for name, protocol, app in (
            ("shop", "http", "app"),
            ("echo", "grpc", "grpc_app"),
            ("plain", "tcp", "tcp_app"),
        ):
            port = ("--port", f"{protocol}={free_port()}")
            run = (sys.executable, "-m", f"tests.fakes.{app}")
            instance = stack.enter_context(joined(mesh, f"{name}-1", name, *port, run=run))
            before.append((instance, instance.pid("proxy")))
        mesh.apply(ROUTES.replace(", port: %d}]}]", "}]}]") % (mesh.ingress_port, plain_port))
        gateway = mesh.pid("ingress.proxy")
        running = conversations(mesh.ingress_port, ("127.0.0.1", plain_port))
        begin(running)
        assert upgrade(mesh, "--envoys").stdout.count("a new Envoy took over") == 4
        all_go_on(running)
        assert mesh.pid("ingress.proxy") != gateway
        assert not [instance.name for instance, pid in before if instance.pid("proxy") == pid]
        ended(running)
