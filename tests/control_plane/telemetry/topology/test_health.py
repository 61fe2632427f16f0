"""Health: the same verdict for a service, an edge and a version with the same success rate."""

from __future__ import annotations

import pytest

from meshwright.control_plane.api.models.instances import InstanceHealth, Port
from meshwright.control_plane.api.models.topology import Breaker, NodeHealth
from meshwright.control_plane.core.world import Departure, Service
from meshwright.control_plane.telemetry.topology import health
from meshwright.control_plane.telemetry.topology.edges import EdgeTable, aggregate
from meshwright.control_plane.telemetry.topology.graph import build_topology
from meshwright.control_plane.telemetry.topology.health import MeshContext, assess_nodes, health_of_calls
from meshwright.control_plane.telemetry.topology.traffic import CallResults
from meshwright.control_plane.telemetry.topology.windows import TrafficWindows
from tests.control_plane.core.worlds import HTTP, exchange, instance, service, world
from tests.control_plane.telemetry.topology.test_windows import report


@pytest.mark.parametrize(
    ("total", "failed", "verdict"),
    [
        (100, 0, "healthy"),
        (100, 3, "healthy"),
        (100, 5, "healthy"),
        (100, 6, "degraded"),
        (100, 50, "degraded"),
        (100, 51, "unhealthy"),
        (health.MIN_CALLS - 1, 9, "healthy"),
        (health.MIN_CALLS, 10, "unhealthy"),
        (0, 0, "healthy"),
    ],
)
def test_node_edge_and_version_have_the_same_health(total: int, failed: int, verdict: NodeHealth) -> None:
    windows, world = TrafficWindows(), exchange()
    counters = {"upstream_rq_completed": total, "upstream_rq_5xx": failed, "upstream_rq_retry": 1}
    report(windows, 2, {"inventory/v1": counters})
    edges = aggregate(windows.samples(2), world.services, 2, windows.edge_ttl)
    topology = build_topology(edges, MeshContext(world))
    (edge,) = topology.edges
    (version,) = edge.versions
    node = next(node for node in topology.nodes if node.name == "inventory")
    assert (node.health, edge.health, version.health) == (verdict, verdict, verdict)
    assert health_of_calls([CallResults(total, failed)]) == verdict


def test_gateway_without_a_document_is_shown_while_a_proxy_of_it_is_known() -> None:
    windows, world = TrafficWindows(), exchange()
    edges = aggregate(windows.samples(2), world.services, 2, windows.edge_ttl)
    context = MeshContext(
        world, connected={"inner"}, recently_seen={"inner", "gone"}, gateways={"inner", "gone"}
    )
    nodes = {node.name: node for node in assess_nodes(edges, context) if node.role == "gateway"}
    assert {name: node.health for name, node in nodes.items()} == {
        "gone": "unhealthy",
        "ingress": "unknown",
        "inner": "healthy",
    }


def test_calls_of_several_callers_are_rated_together() -> None:
    assert health_of_calls([CallResults(6, 6), CallResults(94, 0)]) == "degraded"


@pytest.mark.parametrize(("state", "verdict"), [("open", "degraded"), ("partial", "healthy")])
def test_an_open_circuit_breaker_degrades_its_edge(state: str, verdict: NodeHealth) -> None:
    windows, world = TrafficWindows(), exchange()
    report(windows, 2, {"inventory": {"upstream_rq_completed": 100}})
    breaker = Breaker.model_validate(
        {"from": "orders", "to": "inventory", "state": state, "ejected": 1, "hosts": 1}
    )
    edges = aggregate(windows.samples(2), world.services, 2, windows.edge_ttl)
    (edge,) = build_topology(edges, MeshContext(world, (breaker,))).edges
    assert edge.health == verdict


def test_the_topology_serves_the_thresholds() -> None:
    topology = build_topology(aggregate([], {}, 0, 60), MeshContext(exchange()))
    thresholds = topology.thresholds
    assert (thresholds.degraded_below, thresholds.unhealthy_below) == (0.95, 0.5)
    assert thresholds.min_requests == health.MIN_CALLS == 10


@pytest.mark.parametrize(
    ("departure", "ports", "health", "reason"),
    [
        (Departure(5.0), (HTTP,), "idle", ""),
        (None, (HTTP,), "idle", ""),
        (Departure(5.0, "a-1", "its lease expired"), (HTTP,), "unhealthy", "a-1: its lease expired"),
        (Departure(5.0, "a-1", "exited with code 1"), (), "idle", ""),
    ],
    ids=["left cleanly", "unknown", "lost its lease", "a caller without ports"],
)
def test_absence_is_not_failure(
    departure: Departure | None, ports: tuple[Port, ...], health: str, reason: str
) -> None:
    gone = Service("a", ports, (), departure)
    (node,) = [node for node in assess_nodes(EdgeTable({}, {}), MeshContext(world(gone))) if node.name == "a"]
    assert (node.health, node.reason, node.since) == (health, reason, departure.time if departure else 0)


@pytest.mark.parametrize(
    ("healths", "ports", "health", "reason"),
    [
        (("draining",), (HTTP,), "degraded", "all of its instances are draining"),
        (("healthy", "draining"), (HTTP,), "healthy", ""),
        (("unhealthy", "draining"), (HTTP,), "unhealthy", "1 of 1 instances unhealthy (a-0)"),
        (("healthy", "unhealthy"), (HTTP,), "degraded", "1 of 2 instances unhealthy (a-1)"),
        (("unhealthy",), (), "degraded", "1 of 1 instances unhealthy (a-0)"),
    ],
)
def test_what_drains_leaves_as_planned(
    healths: tuple[InstanceHealth, ...], ports: tuple[Port, ...], health: str, reason: str
) -> None:
    members = (instance(f"a-{index}", health=each) for index, each in enumerate(healths))
    shrinking = service("a", *members, ports=ports)
    nodes = {node.name: node for node in assess_nodes(EdgeTable({}, {}), MeshContext(world(shrinking)))}
    assert (nodes["a"].health, nodes["a"].reason) == (health, reason)


def test_a_caller_that_has_left_and_is_not_registered_is_idle() -> None:
    edges = EdgeTable({}, {"probe": "service", "ingress": "gateway"})
    nodes = {node.name: node.health for node in assess_nodes(edges, MeshContext(world()))}
    assert nodes == {"probe": "idle", "ingress": "unknown"}


@pytest.mark.parametrize("name", ["ingress", "edge"])
def test_an_evicted_gateway_is_unhealthy_until_it_is_connected(name: str) -> None:
    evicted = {name: "evicted by ana at 2026-12-01 21:30 UTC"}
    for connected, expected in (
        ((), ("unhealthy", "its proxy was evicted by ana at 2026-12-01 21:30 UTC")),
        ((name,), ("healthy", "")),
    ):
        context = MeshContext(world(), connected=connected, evicted_gateways=evicted)
        nodes = {node.name: node for node in assess_nodes(EdgeTable({}, {}), context)}
        assert (nodes[name].health, nodes[name].reason) == expected
