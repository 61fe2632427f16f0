"""One mesh for all attacks: an HTTP service, a gRPC service, and apps that send malformed responses."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest

from tests.envoy.harness import ROOT, Mesh, running_mesh, service
from tests.envoy.isolation.entrance import Entrance

NAMES = ("back", "echo", "raw", "raw2")
GRPC_HOST = "echo.example.com"

Channels = tuple[grpc.aio.Channel, grpc.aio.Channel]

POLICIES = f"""
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: edge}}
spec:
  parentRefs: [{{kind: Gateway, name: ingress}}]
  rules:
    - matches: [{{path: {{type: PathPrefix, value: /malformed/h2}}}}]
      backendRefs: [{{name: raw2}}]
    - matches: [{{path: {{type: PathPrefix, value: /malformed}}}}]
      backendRefs: [{{name: raw}}]
    - matches: [{{path: {{type: PathPrefix, value: /switch/late}}}}]
      timeouts: {{request: 100ms}}
      backendRefs: [{{name: back}}]
    - backendRefs: [{{name: back}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {{name: edge-grpc}}
spec:
  parentRefs: [{{kind: Gateway, name: ingress}}]
  hostnames: [{GRPC_HOST}]
  rules: [{{backendRefs: [{{name: echo}}]}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: late}}
spec:
  parentRefs: [{{kind: Service, group: "", name: back}}]
  rules:
    - matches: [{{path: {{type: PathPrefix, value: /switch/late}}}}]
      timeouts: {{request: 100ms}}
      backendRefs: [{{name: back}}]
    - backendRefs: [{{name: back}}]
"""


def _grpc(name: str, module: str, **env: str) -> dict[str, Any]:
    """A service without an HTTP health check: the agent asks grpc.health.v1."""
    entry = service(name) | {
        "command": [sys.executable, "-m", module],
        "ports": [{"name": "grpc", "protocol": "grpc"}],
        "env": {"PYTHONPATH": str(ROOT), **env},
    }
    del entry["health"]
    return entry


@pytest.fixture(scope="package")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    services = [
        service("front"),
        service("back"),
        _grpc("echo", "tests.fakes.grpc_app"),
        {**service("raw"), "command": [sys.executable, "-m", "tests.fakes.malformed_app"]},
        _grpc("raw2", "tests.fakes.malformed_app", SPEAKS="h2"),
    ]
    with running_mesh(tmp_path_factory.mktemp("mesh"), services) as running:
        running.apply(POLICIES)
        yield running


@pytest.fixture(params=["ingress", "sidecar"])
def entrance(request: pytest.FixtureRequest, mesh: Mesh) -> Entrance:
    """Each way to `back`."""
    return entrance_of(mesh, request.param)


def entrance_of(mesh: Mesh, kind: str, host: str = "back") -> Entrance:
    """The ingress, or the sidecar of `front` as the proxy for calls to `host`."""
    if kind == "ingress":
        return Entrance(kind, mesh.ingress_port, host)
    return Entrance(kind, mesh.ports("front-1")["outbound"], host, f"http://{host}")


@pytest.fixture(params=["ingress", "sidecar"])
async def channels(request: pytest.FixtureRequest, mesh: Mesh) -> AsyncIterator[Channels]:
    """gRPC connections of an attacker and of bystanders to `echo`: two at the ingress, one in an app.

    The ingress ends a connection whose client resets most of its streams early.
    """
    async with channel_of(mesh, request.param) as first:
        if request.param == "sidecar":
            yield first, first
            return
        async with channel_of(mesh, request.param) as second:
            yield first, second


def channel_of(mesh: Mesh, kind: str) -> grpc.aio.Channel:
    """A gRPC connection to `echo` through the ingress or the sidecar of `front`."""
    at_ingress = kind == "ingress"
    port = mesh.ingress_port if at_ingress else mesh.ports("front-1")["outbound"]
    options = (
        ("grpc.default_authority", GRPC_HOST if at_ingress else "echo"),
        ("grpc.enable_http_proxy", 0),
        ("grpc.use_local_subchannel_pool", 1),
    )
    return grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options)
