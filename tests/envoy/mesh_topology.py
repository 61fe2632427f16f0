"""The topology of a mesh under test: edges, services and their history."""

from __future__ import annotations

import json
from typing import Any

from meshwright.cli.http import call_api
from meshwright.control_plane.api import calls
from meshwright.control_plane.api.errors import ApiError
from tests.envoy.harness import Mesh

Edges = dict[tuple[str, str], dict[str, Any]]


def topology(mesh: Mesh) -> dict[str, Any]:
    """`mesh topology -o json`."""
    document: dict[str, Any] = json.loads(mesh.run("topology", "-o", "json").stdout)
    return document


def edges(mesh: Mesh) -> Edges:
    """The edges by caller and callee, straight from the API."""
    listed = call_api(calls.topology(), mesh.state)["edges"]
    return {(edge["from"], edge["to"]): edge for edge in listed}


def health(mesh: Mesh, name: str) -> str:
    """The health of a service."""
    nodes = call_api(calls.topology(), mesh.state)["nodes"]
    return next(str(node["health"]) for node in nodes if node["name"] == name)


def service_rows(mesh: Mesh) -> dict[str, dict[str, Any]]:
    """The rows of the service table by name."""
    return {service["name"]: service for service in call_api(calls.services(), mesh.state)["services"]}


def totals(mesh: Mesh, caller: str, callee: str) -> dict[str, int]:
    """Totals of the calls reported from `caller` to `callee`; zeros if there are none."""
    try:
        return _sum(call_api(calls.edge_history(caller, callee), mesh.state)["points"])
    except ApiError as error:
        assert error.status == 404
        return _sum([])


def service_totals(mesh: Mesh, name: str) -> dict[str, int]:
    """Totals of the calls reported to a service."""
    return _sum(call_api(calls.service_history(name), mesh.state)["points"])


def _sum(points: list[dict[str, float]]) -> dict[str, int]:
    return {name: round(sum(point[name] for point in points)) for name in ("requests", "failures", "retries")}
