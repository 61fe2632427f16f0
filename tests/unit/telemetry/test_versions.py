"""What of an edge goes to which version of the service."""

from __future__ import annotations

from control_plane.api.seen import Share
from control_plane.api.spiffe import Identity
from control_plane.telemetry.edges import gather
from control_plane.telemetry.flows import Flows
from control_plane.telemetry.topology import picture
from control_plane.telemetry.verdict import Setting
from tests.unit.core.worlds import exchange
from tests.unit.telemetry.otlp import Stats, flush

ORDERS = Identity("mesh.local", "service", "orders")


def told(flows: Flows, at: float, node: str, clusters: dict[str, Stats]) -> None:
    for _ in flows.take(ORDERS, flush("orders", node, clusters, at), at):
        pass


def test_an_edge_tells_what_of_it_went_to_which_version() -> None:
    flows, world = Flows(), exchange()
    for at in (2, 4, 6, 8, 10):
        good: Stats = {"upstream_rq_completed": 6, "upstream_rq_2xx": 6}
        half: Stats = {"upstream_rq_completed": 2, "upstream_rq_2xx": 1, "upstream_rq_5xx": 1}
        told(flows, at, "orders-1", {"inventory/v1": good, "inventory/v2": half})
        told(flows, at, "orders-2", {"inventory": {"upstream_rq_completed": 2, "upstream_rq_2xx": 2}})
    (edge,) = picture(gather(flows.seen(10), world.services, 10, flows.fades), Setting(world)).edges
    assert (edge.rps, edge.success) == (5.0, 0.9)
    assert edge.versions == (
        Share(version="v1", rps=3.0, success=1.0, p99_ms=0.0),
        Share(version="v2", rps=1.0, success=0.5, p99_ms=0.0),
    )
