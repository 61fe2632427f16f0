"""Real Envoys accept the example of every kind: all sidecars have it, and none rejects it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from meshwright.control_plane.policies import registry
from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.fakes.ports import free_port

CONTEXT = """
apiVersion: meshwright.io/v1
kind: Subset
metadata: {name: inventory-v2}
spec: {service: inventory, labels: {version: v2}}
---
apiVersion: meshwright.io/v1
kind: Subset
metadata: {name: analytics-v2}
spec: {service: analytics, labels: {version: v2}}
---
apiVersion: meshwright.io/v1
kind: Subset
metadata: {name: ledger-v2}
spec: {service: ledger, labels: {version: v2}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: front}
spec:
  parentRefs: [{kind: Gateway, name: ingress}]
  rules:
    - {matches: [{path: {value: /inventory}}], backendRefs: [{name: inventory}]}
    - filters:
        - {type: RequestRedirect, requestRedirect: {path: {type: ReplaceFullPath, replaceFullPath: /new}}}
      matches: [{path: {value: /old}}]
    - backendRefs:
        - {name: catalog}
        - {name: nobody, weight: 0}
"""


def grpc_or_tcp_service(protocol: str, name: str, version: str) -> dict[str, Any]:
    """A replica of the gRPC or TCP fake."""
    return {
        **service(name, labels={"version": version}),
        "command": [sys.executable, "-m", f"tests.fakes.{protocol}_app"],
        "ports": [{"name": protocol, "protocol": protocol}],
        "health": {"interval": "1s"},
    }


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    services = [
        {**service("catalog"), "upstreams": ["ledger"]},
        service("orders"),
        service("inventory", labels={"version": "v1"}),
        service("inventory", labels={"version": "v2"}),
        *(grpc_or_tcp_service("grpc", "analytics", version) for version in ("v1", "v2")),
        *(grpc_or_tcp_service("tcp", "ledger", version) for version in ("v1", "v2")),
    ]
    with running_mesh(tmp_path_factory.mktemp("examples"), services) as running:
        running.apply(f"{CONTEXT}---\n{registry.example('ExternalService')}")
        for caller, host in (("catalog-1", "catalog"), ("catalog-1", "inventory"), ("orders-1", "inventory")):
            assert running.get(caller, f"http://{host}/echo").status_code == 200
        # Nobody answers there, but it makes the Envoy of the caller subscribe to the cluster.
        running.get("orders-1", "http://api.cards.example/")
        # Not a gRPC call, but it makes the Envoy of the caller subscribe to analytics.
        running.get("catalog-1", "http://analytics/fake.Echo/Echo", "POST")
        yield running


SECURE_GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: ingress}}
spec:
  listeners:
    - {{name: http, port: 8080, protocol: HTTP}}
    - name: https
      port: {port}
      protocol: HTTPS
      hostname: shop.test
      tls: {{certificateRefs: [{{name: shop}}]}}
    - {{name: ledger, port: {port}, protocol: TLS, hostname: "*.example.com", tls: {{mode: Passthrough}}}}
"""
"""What makes a proxy need a Certificate or a TLSRoute."""

REFUSING = {
    "JWTAuthentication": ("users", 401),
    "BasicAuthentication": ("operators", 401),
    "APIKeyAuthentication": ("partners", 401),
}
"""Kinds whose example refuses calls without credentials, with the example's name and the status."""


@pytest.mark.parametrize("kind", registry.kinds())
def test_example_is_programmed(mesh: Mesh, kind: str) -> None:
    if kind in ("Certificate", "TLSRoute"):
        mesh.apply(SECURE_GATEWAY.format(port=free_port()))
    mesh.apply(registry.example(kind))
    name, status_code = REFUSING.get(kind, ("", 200))

    def called() -> bool:
        response = mesh.get("catalog-1", "http://inventory/echo", headers={"x-tester": "yes"})
        return response.status_code == status_code

    until(called, "calls succeed, if only after a probe that was late on a busy machine")

    def programmed() -> bool:
        status = mesh.status()
        assert not [proxy for proxy in status["proxies"] if proxy["state"] == "rejected"], status["proxies"]
        policies = [policy for policy in status["policies"] if policy["kind"] == kind]
        conditions = [condition for policy in policies for condition in policy["conditions"]]
        assert not [condition for condition in conditions if condition["type"] == "Rejected"]
        return ("Programmed", "True") in {
            (condition["type"], condition["status"]) for condition in conditions
        }

    until(programmed, f"{kind} is programmed")
    if name:
        mesh.delete(kind, name)


def test_redirect_keeps_the_requests_port(mesh: Mesh) -> None:
    response = mesh.outside("/old", allow_redirects=False)
    assert response.headers["location"] == f"http://127.0.0.1:{mesh.ingress_port}/new"


def test_service_behind_the_gateway_responds(mesh: Mesh) -> None:
    assert mesh.outside("/inventory").status_code == 200
