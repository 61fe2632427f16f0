"""What of an edge goes to which version of the service."""

from __future__ import annotations

from meshwright.control_plane.api.models.topology import VersionTraffic
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.telemetry.topology.edges import aggregate
from meshwright.control_plane.telemetry.topology.graph import build_topology
from meshwright.control_plane.telemetry.topology.health import MeshContext
from meshwright.control_plane.telemetry.topology.windows import TrafficWindows
from tests.control_plane.core.worlds import exchange
from tests.control_plane.telemetry.otlp import Stats, metrics_export

ORDERS = Identity("mesh.local", "service", "orders")


def told(flows: TrafficWindows, at: float, node: str, clusters: dict[str, Stats]) -> None:
    for _ in flows.handle(ORDERS, metrics_export("orders", node, clusters, at), at):
        pass


def test_an_edge_tells_what_of_it_went_to_which_version() -> None:
    flows, world = TrafficWindows(), exchange()
    for at in (2, 4, 6, 8, 10):
        good: Stats = {"upstream_rq_completed": 6, "upstream_rq_2xx": 6}
        half: Stats = {"upstream_rq_completed": 2, "upstream_rq_2xx": 1, "upstream_rq_5xx": 1}
        told(flows, at, "orders-1", {"inventory/v1": good, "inventory/v2": half})
        told(flows, at, "orders-2", {"inventory": {"upstream_rq_completed": 2, "upstream_rq_2xx": 2}})
    (edge,) = build_topology(
        aggregate(flows.samples(10), world.services, 10, flows.edge_ttl), MeshContext(world)
    ).edges
    assert (edge.rps, edge.success) == (5.0, 0.9)
    assert edge.versions == (
        VersionTraffic(version="v1", rps=3.0, success=1.0, p99_ms=0.0),
        VersionTraffic(version="v2", health="degraded", rps=1.0, success=0.5, p99_ms=0.0),
    )
