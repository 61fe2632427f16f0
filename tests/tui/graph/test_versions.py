"""Versions of a service as separate nodes."""

from __future__ import annotations

import pytest

from meshwright.control_plane.api.models.topology import Topology, TopologyEdge, TopologyNode, VersionTraffic
from meshwright.tui.graph.versions import has_versions, service_of, split_versions


def topology(rps: float, *shares: VersionTraffic, more: tuple[TopologyEdge, ...] = ()) -> Topology:
    nodes = tuple(
        TopologyNode(name=name, health="healthy", instances=2, healthy=2) for name in ("orders", "stock")
    )
    return Topology(nodes=nodes, edges=(calls("orders", "stock", rps, *shares), *more))


def calls(caller: str, callee: str, rps: float, *shares: VersionTraffic) -> TopologyEdge:
    return TopologyEdge(
        from_=caller,
        to=callee,
        rps=rps,
        success=0.9,
        p50_ms=1,
        p95_ms=2,
        p99_ms=3,
        mtls=True,
        versions=shares,
    )


V1 = VersionTraffic(version="v1", rps=9, success=1, p99_ms=5)
V2 = VersionTraffic(version="stock-v2", health="degraded", rps=1, success=0.5, p99_ms=80)


def test_split_versions_replaces_a_service_by_its_versions() -> None:
    split = split_versions(topology(10, V1, V2))
    assert [(node.name, node.health) for node in split.nodes] == [
        ("orders", "healthy"),
        ("stock/v1", "healthy"),
        ("stock/v2", "degraded"),
    ]
    assert [(edge.from_, edge.to, edge.rps, edge.success, edge.p99_ms) for edge in split.edges] == [
        ("orders", "stock/v1", 9, 1, 5),
        ("orders", "stock/v2", 1, 0.5, 80),
    ]


def test_split_versions_keeps_a_service_with_unversioned_traffic_or_calls() -> None:
    split = split_versions(topology(20, V1, V2))
    assert "stock" in {node.name for node in split.nodes}
    rest = next(edge for edge in split.edges if edge.to == "stock")
    assert rest.rps == 10
    assert rest.success == pytest.approx((20 * 0.9 - 9 - 0.5) / 10)
    calling = split_versions(topology(10, V1, V2, more=(calls("stock", "orders", 1),)))
    assert "stock" in {node.name for node in calling.nodes}


def test_split_versions_without_versions_changes_nothing() -> None:
    plain = topology(10)
    assert split_versions(plain) == plain
    assert not has_versions(plain) and has_versions(topology(10, V1))
    assert (service_of("stock/v1"), service_of("stock")) == ("stock", "stock")
