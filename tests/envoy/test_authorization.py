"""Authorization under traffic: sidecars and gateways let through what rules say, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.envoy.harness import Mesh, running_mesh, service, until

BACK = "{kind: Service, name: back}"
GATEWAY = "{kind: Gateway, name: ingress}"
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop}
spec:
  parentRefs: [{kind: Gateway, name: ingress}]
  rules:
  - backendRefs: [{name: back}]
"""
FRONT = {"from": [{"services": ["front"]}]}
NO_ADMIN = {"name": "no-admin", "action": "deny", "to": [{"paths": [{"value": "/admin"}]}]}


def policy(name: str, target: str, *rules: dict[str, Any], **spec: Any) -> str:
    head = "---\napiVersion: meshwright.io/v1\nkind: Authorization\n"
    fields = json.dumps({"rules": rules, **spec})[1:-1]
    return f"{head}metadata: {{name: {name}}}\nspec: {{targetRefs: [{target}], {fields}}}\n"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    services = [service("front"), service("back"), service("stranger")]
    with running_mesh(tmp_path_factory.mktemp("mesh"), services) as running:
        running.apply(ROUTE)
        yield running


@pytest.fixture
def applied(mesh: Mesh) -> Iterator[Any]:
    """Apply policies; they are deleted after the test."""
    names: list[str] = []

    def apply(name: str, target: str, *rules: dict[str, Any], **spec: Any) -> None:
        names.append(name)
        mesh.apply(policy(name, target, *rules, **spec))

    yield apply
    for name in dict.fromkeys(names):
        mesh.delete("Authorization", name)


def status(
    mesh: Mesh, caller: str, url: str = "http://back/echo", method: str = "GET", **options: Any
) -> int:
    return mesh.get(f"{caller}-1", url, method, **options).status_code


def test_only_allowed_callers_get_through_and_a_denial_names_its_policy(mesh: Mesh, applied: Any) -> None:
    session = mesh.caller("stranger-1")
    stream = session.get("http://back/stream?seconds=600&every=0.2", stream=True, timeout=30)
    lines = stream.iter_lines()
    assert next(lines) == b"0"
    applied("callers", BACK, FRONT, {"name": "edge", "from": [{"gateways": ["ingress"]}]}, NO_ADMIN)
    assert status(mesh, "front") == 200
    assert mesh.outside("/echo").status_code == 200, "the gateway is allowed"
    assert status(mesh, "stranger", "http://front/echo") == 200, "other services have no rules"
    refused = mesh.get("stranger-1", "http://back/echo")
    assert refused.status_code == 403
    assert refused.text.startswith("RBAC: access denied")
    denied = mesh.get("front-1", "http://back/admin/x")
    assert denied.status_code == 403
    assert "Authorization/callers/no-admin" in denied.text
    for _ in range(3):
        assert next(lines), "the stream that began before goes on"
    stream.close()

    def why(response: Any) -> str:
        done = mesh.run("why", response.headers["x-request-id"], check=False)
        return done.stdout if "Authorization callers" in done.stdout else ""

    assert "no allow rule matches" in until(lambda: why(refused), "mesh why names the policy")
    assert "a deny rule matches" in until(lambda: why(denied), "mesh why names the policy")


def test_deny_by_default_keeps_health_checks_metrics_and_readiness(mesh: Mesh, applied: Any) -> None:
    applied("nobody", "{kind: Mesh}", default="deny")
    for caller in ("front", "stranger"):
        assert status(mesh, caller) == 403
    assert mesh.outside("/echo").status_code == 403
    services = {entry["name"]: entry for entry in mesh.status()["services"]}
    assert all(entry["healthy"] == entry["instances"] for entry in services.values())
    mesh.apply(policy("some", BACK, {"from": [{"services": ["front"]}], "to": [{"methods": ["GET"]}]}))
    try:
        assert status(mesh, "front") == 200
        assert status(mesh, "front", method="POST") == 403
        assert status(mesh, "stranger") == 403
    finally:
        mesh.delete("Authorization", "some")
