"""Calls from before a service was first ready are counted, and no verdict rests on them."""

from __future__ import annotations

from collections.abc import Mapping

from meshwright.control_plane.core.world import Departure, Service
from meshwright.control_plane.telemetry.topology.edges import aggregate
from meshwright.control_plane.telemetry.topology.first_readiness import FirstReadiness
from meshwright.control_plane.telemetry.topology.graph import build_topology
from meshwright.control_plane.telemetry.topology.health import MeshContext
from meshwright.control_plane.telemetry.topology.traffic import FLUSH_GRACE, NEVER
from meshwright.control_plane.telemetry.topology.windows import TrafficWindows
from tests.control_plane.core.worlds import HTTP, exchange, instance, service
from tests.control_plane.telemetry.topology.test_windows import report

FAILED = {"inventory": {"upstream_rq_completed": 20, "upstream_rq_5xx": 20}}
SERVED = {"inventory": {"upstream_rq_completed": 20}}


def healths(windows: TrafficWindows, at: float, since: Mapping[str, float] | None) -> list[str]:
    """The health of inventory, and of the edge from orders."""
    world = exchange()
    edges = aggregate(windows.samples(at), world.services, at, windows.edge_ttl, since)
    topology = build_topology(edges, MeshContext(world, ready_since=since))
    nodes = {node.name: node.health for node in topology.nodes}
    (edge,) = topology.edges
    assert edge.rps > 0, "the calls are counted"
    return [nodes["inventory"], edge.health]


def test_failures_before_readiness_give_no_verdict_and_those_after_it_do() -> None:
    windows = TrafficWindows()
    report(windows, 2, FAILED)
    ready = {"inventory": 3.0}
    assert healths(windows, 4, None) == ["unhealthy", "unhealthy"]
    assert healths(windows, 4, {}) == ["healthy", "unhealthy"], "it was never ready yet"
    assert healths(windows, 4, ready) == ["healthy", "unhealthy"]
    assert healths(windows, 4, {"inventory": NEVER}) == ["unhealthy", "unhealthy"]
    report(windows, 3.0 + FLUSH_GRACE, SERVED)
    assert healths(windows, 8, ready)[0] == "healthy"
    report(windows, 3.1 + FLUSH_GRACE, FAILED)
    assert healths(windows, 8.5, ready)[0] == "unhealthy"


def test_readiness_is_the_first_one_and_what_was_there_at_the_start_is_not_judged_anew() -> None:
    readiness = FirstReadiness()

    def world(*members: Service) -> Mapping[str, Service]:
        return {member.name: member for member in members}

    ill, well = instance("a-1", health="unhealthy"), instance("a-1")
    idle = Service("b", (HTTP,), (), Departure(5.0))
    lost = Service("c", (HTTP,), (), Departure(5.0, "c-1", "its lease expired"))
    old = service("old", ill)
    assert readiness.observe(world(old, idle, lost), 1) == {"old": NEVER, "c": NEVER}
    assert readiness.observe(world(old, idle, service("a", ill)), 2) == {"old": NEVER}
    assert readiness.observe(world(old, service("a", well)), 3) == {"old": NEVER, "a": 3}
    assert readiness.observe(world(service("a", ill)), 4) == {"a": 3}
    assert readiness.observe(world(service("a", well)), 5) == {"a": 3}, "it may fail like any other now"
