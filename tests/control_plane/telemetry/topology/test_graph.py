"""The topology: the traffic of an edge by version."""

from __future__ import annotations

from meshwright.control_plane.api.models.topology import VersionTraffic
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.telemetry.topology.edges import aggregate
from meshwright.control_plane.telemetry.topology.graph import build_topology
from meshwright.control_plane.telemetry.topology.health import MeshContext
from meshwright.control_plane.telemetry.topology.windows import TrafficWindows
from tests.control_plane.core.worlds import exchange
from tests.control_plane.telemetry.metric_exports import Stats, metrics_export

ORDERS = Identity("mesh.local", "service", "orders")


def report(windows: TrafficWindows, at: float, node: str, clusters: dict[str, Stats]) -> None:
    for _ in windows.handle(ORDERS, metrics_export("orders", node, clusters, at), at):
        pass


def test_an_edge_lists_the_traffic_of_each_version() -> None:
    windows, world = TrafficWindows(), exchange()
    for at in (2, 4, 6, 8, 10):
        good: Stats = {"upstream_rq_completed": 6, "upstream_rq_2xx": 6}
        half: Stats = {"upstream_rq_completed": 2, "upstream_rq_2xx": 1, "upstream_rq_5xx": 1}
        report(windows, at, "orders-1", {"inventory/v1": good, "inventory/v2": half})
        report(windows, at, "orders-2", {"inventory": {"upstream_rq_completed": 2, "upstream_rq_2xx": 2}})
    (edge,) = build_topology(
        aggregate(windows.samples(10), world.services, 10, windows.edge_ttl), MeshContext(world)
    ).edges
    assert (edge.rps, edge.success) == (5.0, 0.9)
    assert edge.versions == (
        VersionTraffic(version="v1", rps=3.0, success=1.0, p99_ms=0.0),
        VersionTraffic(version="v2", health="degraded", rps=1.0, success=0.5, p99_ms=0.0),
    )
