"""Documents of routes, and calls through them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import requests

from tests.envoy.harness import Mesh

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
