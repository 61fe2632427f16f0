"""Documents of routes, and calls through them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import requests

from tests.envoy.harness import Mesh
from tests.envoy.mesh_api import api

SERVICE = "{kind: Service, name: back}"
INGRESS = "{name: ingress}"
GROUP = "group: meshwright.io, kind: Subset"


def route(name: str, parents: str, *rules: str, hostnames: str = "[]") -> str:
    """An HTTPRoute document."""
    return f"""
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}}}
spec:
  parentRefs: [{parents}]
  hostnames: {hostnames}
  rules: [{", ".join(rules)}]
"""


def rule(label: str, matches: str, backend: str = "name: back") -> str:
    """A rule that sets its label as a header, which the backend echoes."""
    header = (
        f"{{type: RequestHeaderModifier, requestHeaderModifier: {{set: [{{name: x-rule, value: {label}}}]}}}}"
    )
    return f"{{matches: [{matches}], filters: [{header}], backendRefs: [{{{backend}}}]}}"


def filtered(path: str, filters: str, backends: str = "{name: back}") -> str:
    """A rule for one path prefix with filters."""
    return f"{{matches: [{{path: {{value: {path}}}}}], filters: [{filters}], backendRefs: [{backends}]}}"


def call(mesh: Mesh, path: str, method: str = "GET", **options: Any) -> requests.Response:
    """A call of `back` through the sidecar of `front`."""
    return mesh.get("front-1", f"http://back{path}", method, allow_redirects=False, **options)


def served(mesh: Mesh, path: str, count: int = 300) -> Counter[Any]:
    """Responses by instance, failures by status."""
    caller = mesh.caller("front-1")
    responses = (caller.get(f"http://back{path}", timeout=20) for _ in range(count))
    return Counter(
        response.headers["x-served-by"] if response.ok else response.status_code for response in responses
    )


def gateway(name: str, *listeners: str) -> str:
    """A Gateway document."""
    return f"""
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: {name}}}
spec: {{gatewayClassName: any, listeners: [{", ".join(listeners)}]}}
"""


def at(port: int, path: str = "/", host: str = "", **options: Any) -> requests.Response:
    """A request to a port of a gateway, for `host`."""
    headers = {"host": host} if host else {}
    url = f"http://127.0.0.1:{port}{path}"
    return requests.get(url, headers=headers, allow_redirects=False, timeout=30, **options)


def policy(mesh: Mesh, name: str) -> dict[str, Any]:
    """The status of a policy."""
    status = api(mesh, "/api/v1/status").json()
    entry: dict[str, Any] = next(item for item in status["policies"] if item["name"] == name)
    return entry


def conditions(entry: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Status and reason of each condition of a policy, parent or listener."""
    return {item["type"]: (item["status"], item["reason"]) for item in entry["conditions"]}


def secure(
    name: str, port: int, host: str, *certificates: str, more: str = "", protocol: str = "HTTPS"
) -> str:
    """A listener that ends TLS."""
    refs = ", ".join(f"{{name: {item}}}" for item in certificates)
    hostname = f'hostname: "{host}", ' if host else ""
    tls = f"tls: {{certificateRefs: [{refs}]{more}}}"
    return f"{{name: {name}, port: {port}, protocol: {protocol}, {hostname}{tls}}}"


def section(name: str) -> str:
    """A parentRef to a listener of the ingress."""
    return f"{{name: ingress, sectionName: {name}}}"


def tcp_backend(kind: str, name: str, parents: str, port: int, more: str = "") -> str:
    """A route of connections to the TCP service."""
    return f"""
---
apiVersion: gateway.networking.k8s.io/v1
kind: {kind}
metadata: {{name: {name}}}
spec: {{parentRefs: [{parents}], {more}rules: [{{backendRefs: [{{name: ledger, port: {port}}}]}}]}}
"""
