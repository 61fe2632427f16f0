"""The index of a topology: whether requests come in."""

from __future__ import annotations

import pytest

from meshwright.control_plane.api.models.topology import Topology, TopologyEdge
from meshwright.tui.graph.viewport import TopologyIndex
from tests.fakes.fixture_parts import node


def calls(caller: str, callee: str, rps: float) -> TopologyEdge:
    return TopologyEdge(from_=caller, to=callee, rps=rps, success=1, p50_ms=1, p95_ms=2, p99_ms=3, mtls=True)


@pytest.mark.parametrize(
    ("names", "edges", "idle"),
    [
        ("ingress trading analytics", [calls("trading", "analytics", 1)], True),
        ("ingress orders", [calls("ingress", "orders", 0)], True),
        ("ingress orders", [calls("ingress", "orders", 0.1)], False),
        ("trading analytics", [calls("trading", "analytics", 0)], False),
    ],
)
def test_a_mesh_is_idle_when_its_gateways_send_nothing(
    names: str, edges: list[TopologyEdge], idle: bool
) -> None:
    nodes = tuple(node(name) for name in names.split())
    assert TopologyIndex.from_topology(Topology(nodes=nodes, edges=tuple(edges))).is_idle == idle
