"""Real Envoys accept every kind's example: programmed everywhere, rejected nowhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from meshwright.control_plane.policies import registry
from tests.envoy.harness import Mesh, running_mesh, service, until

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


def speaking(protocol: str, name: str, version: str) -> dict[str, Any]:
    """A replica of the gRPC or TCP fake."""
    return {
        **service(name, labels={"version": version}),
        "command": [sys.executable, "-m", f"tests.fakes.{protocol}_app"],
        "ports": [{"name": protocol, "protocol": protocol}],
        "health": None,
    }


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    services = [
        {**service("catalog"), "upstreams": ["ledger"]},
        service("orders"),
        service("inventory", labels={"version": "v1"}),
        service("inventory", labels={"version": "v2"}),
        *(speaking("grpc", "analytics", version) for version in ("v1", "v2")),
        *(speaking("tcp", "ledger", version) for version in ("v1", "v2")),
    ]
    with running_mesh(tmp_path_factory.mktemp("examples"), services) as actual_mesh:
        actual_mesh.apply(CONTEXT)
        for caller, host in (("catalog-1", "catalog"), ("catalog-1", "inventory"), ("orders-1", "inventory")):
            assert actual_mesh.get(caller, f"http://{host}/echo").status_code == 200
        # No gRPC, but a call: the caller's Envoy asks how to reach analytics.
        actual_mesh.get("catalog-1", "http://analytics/fake.Echo/Echo", "POST")
        yield actual_mesh


@pytest.mark.parametrize("kind", registry.kinds())
def test_example_is_programmed(mesh: Mesh, kind: str) -> None:
    mesh.apply(registry.example(kind))

    def called() -> bool:
        return mesh.get("catalog-1", "http://inventory/echo", headers={"x-tester": "yes"}).status_code == 200

    until(called, "calls go well, be it after a probe that was late on a busy machine")

    def programmed() -> bool:
        status = mesh.status()
        assert not [proxy for proxy in status["proxies"] if proxy["state"] == "rejected"], status["proxies"]
        values = [policy for policy in status["policies"] if policy["kind"] == kind]
        conditions = [condition for item in values for condition in item["conditions"]]
        assert not [
            current_condition for current_condition in conditions if current_condition["type"] == "Rejected"
        ]
        return any(
            (current_condition["type"], current_condition["status"]) == ("Programmed", "True")
            for current_condition in conditions
        )

    until(programmed, f"{kind} programmed")


def test_redirect_keeps_the_requests_port(mesh: Mesh) -> None:
    response = mesh.outside("/old", allow_redirects=False)
    assert response.headers["location"] == f"http://127.0.0.1:{mesh.ingress_port}/new"


def test_service_behind_the_gateway_responds(mesh: Mesh) -> None:
    assert mesh.outside("/inventory").status_code == 200
