"""What the proxies that a change affects carry."""

from __future__ import annotations

from meshwright.control_plane.api.models.policies import ChangeImpact
from meshwright.control_plane.api.models.proxies import ProxyReport
from meshwright.control_plane.api.models.topology import Topology, TopologyEdge
from meshwright.control_plane.status.change_impact import change_impact


def edge(caller: str, callee: str, rps: float, success: float = 1.0) -> TopologyEdge:
    return TopologyEdge(
        from_=caller, to=callee, rps=rps, success=success, p50_ms=1, p95_ms=1, p99_ms=1, mtls=True
    )


TOPOLOGY = Topology(
    edges=(edge("ingress", "front", 50), edge("front", "orders", 40, 0.9), edge("orders", "stock", 7))
)


def test_each_edge_of_an_affected_service_counts_once() -> None:
    impact = change_impact([("orders", "o-1"), ("front", "f-1"), ("front", "f-2")], TOPOLOGY)
    assert (impact.proxies, impact.services) == (("f-1", "f-2", "o-1"), ("front", "orders"))
    assert (impact.rps, impact.failures_per_s) == (97, 4)
    assert change_impact([("stock", "s-1")], TOPOLOGY).rps == 7


def test_open_streams_are_those_of_the_affected_proxies() -> None:
    reports = [
        ProxyReport(node="o-1", service="orders", open_streams=2),
        ProxyReport(node="o-1", service="stock", open_streams=8),
        ProxyReport(node="f-1", service="front", open_streams=1),
    ]
    affected = [("orders", "o-1"), ("front", "f-1"), ("front", "f-2")]
    assert change_impact(affected, TOPOLOGY, reports).open_streams == 3


def test_without_affected_proxies_nothing_is_carried() -> None:
    assert change_impact([], TOPOLOGY) == ChangeImpact()
    assert change_impact([("", "of-an-older-peer")], TOPOLOGY).rps == 0
