"""From flushes of metrics to the edges and nodes of the topology."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwright.control_plane.api.models.topology import Breaker, Topology, TopologyEdge, TopologyNode
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.core.world import World
from meshwright.control_plane.telemetry import metrics
from meshwright.control_plane.telemetry.topology.counters import UpstreamCounters
from meshwright.control_plane.telemetry.topology.edges import aggregate
from meshwright.control_plane.telemetry.topology.graph import build_topology
from meshwright.control_plane.telemetry.topology.health import MeshContext
from meshwright.control_plane.telemetry.topology.history import edge_history
from meshwright.control_plane.telemetry.topology.traffic import WINDOW
from meshwright.control_plane.telemetry.topology.windows import (
    EDGE_TTL,
    MAX_CLUSTERS_PER_NODE,
    TrafficWindows,
)
from tests.control_plane.core.worlds import TCP, exchange, instance, service, world
from tests.control_plane.telemetry.metric_exports import Stats, metrics_export

ORDERS = Identity("mesh.local", "service", "orders")
INGRESS = Identity("mesh.local", "gateway", "ingress")


def report(
    windows: TrafficWindows,
    at: float,
    clusters: Mapping[str, Stats],
    sender: Identity = ORDERS,
    node: str = "",
) -> None:
    """Handle a flush that arrives as soon as it is sent."""
    body = metrics_export(sender.name, node or f"{sender.name}-1", clusters, at)
    for _ in windows.handle(sender, body, at):
        pass


def topology_of(
    windows: TrafficWindows, at: float, mesh: World | None = None, breakers: tuple[Breaker, ...] = ()
) -> Topology:
    return topology_in(windows, MeshContext(mesh or exchange(), breakers), at)


def topology_in(windows: TrafficWindows, context: MeshContext, at: float) -> Topology:
    return build_topology(
        aggregate(windows.samples(at), context.world.services, at, windows.edge_ttl), context
    )


def only_edge(topology: Topology) -> TopologyEdge:
    (edge,) = topology.edges
    return edge


def node(topology: Topology, name: str) -> TopologyNode:
    return next(topology_node for topology_node in topology.nodes if topology_node.name == name)


def dropped(reason: str) -> float:
    return float(metrics.DROPPED.labels(reason)._value.get())


def test_an_edge_counts_final_responses_not_attempts() -> None:
    windows = TrafficWindows()
    for at in (2, 4, 6, 8, 10):
        report(
            windows,
            at,
            {
                "catalog": {
                    "upstream_rq_total": 210,
                    "upstream_rq_completed": 200,
                    "upstream_rq_2xx": 198,
                    "upstream_rq_5xx": 2,
                    "upstream_rq_retry": 10,
                    "upstream_rq_time": (0, 0, 0, 100, 98, 0, 2, 0, 0),
                }
            },
        )
    edge = only_edge(topology_of(windows, 10))
    assert (edge.from_, edge.to, edge.protocol) == ("orders", "catalog", "http")
    assert edge.rps == 100
    assert edge.success == 0.99
    assert edge.retries_per_s == 5
    assert 2 <= edge.p50_ms <= 5
    assert 5 <= edge.p95_ms <= 10
    assert 5 <= edge.p99_ms <= 100
    assert (edge.breaker, edge.mtls) == ("none", True)


@given(st.lists(st.floats(-0.9, 0.9), min_size=8, max_size=8), st.integers(1, 50))
def test_jitter_between_flushes_does_not_change_the_rate(jitter: list[float], rate: int) -> None:
    windows = TrafficWindows()
    for number, late in enumerate(jitter):
        at = 10 + 2 * number + late
        body = metrics_export(
            "orders", "orders-1", {"catalog": {"upstream_rq_completed": 2 * rate}}, 2 * number
        )
        list(windows.handle(ORDERS, body, at))
        assert only_edge(topology_of(windows, at)).rps == rate


@given(st.lists(st.tuples(st.floats(0.1, 9), st.integers(0, 99), st.integers(0, 9)), max_size=30))
def test_recent_counters_are_the_sum_of_the_window(flushes: list[tuple[float, int, int]]) -> None:
    windows, at, recorded = TrafficWindows(), 100.0, []
    for pause, quick, slow in flushes:
        at += pause
        spread = (0, quick, 0, 0, 0, 0, 0, slow, 0)
        report(windows, at, {"catalog": {"upstream_rq_completed": quick + slow, "upstream_rq_time": spread}})
        recorded.append((at, quick, slow))
        window = [entry for entry in recorded if entry[0] > at - WINDOW]
        (counters,) = [sample.counters for sample in windows.samples(at)] or [UpstreamCounters()]
        assert counters.completed == sum(entry[1] + entry[2] for entry in window)
        expected = UpstreamCounters(
            latency_buckets={
                (0.5, 1.0): sum(entry[1] for entry in window),
                (100.0, 1000.0): sum(entry[2] for entry in window),
            }
        )
        assert counters.latency_percentiles() == expected.latency_percentiles()


def test_requests_of_a_proxy_count_in_flushes_that_cover_no_time_before() -> None:
    windows = TrafficWindows()
    for at in (100.0, 102.0, 104.0, 106.0):
        report(windows, at, {"catalog": {"upstream_rq_completed": 10}})
    [(service, name, requests, counters)] = windows.by_node({"orders"}, 106.0, {"orders/orders-1": 101.0})
    assert (service, name, requests, counters.completed) == ("orders", "orders-1", 40, 20)
    [(_, _, _, counters)] = windows.by_node({"orders"}, 106.0, {})
    assert counters.completed == 40


def test_replicas_of_the_caller_are_summed() -> None:
    windows = TrafficWindows()
    for name, count in (("orders-1", 20), ("orders-2", 60)):
        report(windows, 10, {"catalog": {"upstream_rq_completed": count}}, node=name)
    assert only_edge(topology_of(windows, 10)).rps == 40


def test_ports_and_subsets_of_a_service_are_one_destination() -> None:
    windows = TrafficWindows()
    counts = {"upstream_rq_completed": 10}
    given_clusters = [
        "catalog",
        "catalog/v2",
        "orders:grpc",
        "/xds",
        "/app/http",
        "nobody",
        "orders:nope",
        "",
    ]
    report(windows, 2, dict.fromkeys(given_clusters, counts), INGRESS)
    values = {(edge.from_, edge.to): edge.rps for edge in topology_of(windows, 2).edges}
    assert values == {("ingress", "catalog"): 10, ("ingress", "orders"): 5}


def test_grpc_calls_are_rated_by_their_grpc_status() -> None:
    windows = TrafficWindows()
    report(
        windows,
        2,
        {"orders:grpc": {"upstream_rq_completed": 98, "upstream_rq_5xx": 1, "grpc.0": 90, "grpc.5": 6,
                         "grpc.14": 3, "grpc.4": 1}},
        INGRESS,
    )  # fmt: skip
    edge = only_edge(topology_of(windows, 2))
    assert (edge.protocol, edge.rps, edge.success) == ("grpc", 50, 0.96)


def test_tcp_traffic_counts_connections() -> None:
    windows = TrafficWindows()
    report(windows, 2, {"db": {"upstream_cx_total": 20, "upstream_cx_connect_fail": 5, "ssl.handshake": 15}})
    edge = only_edge(topology_of(windows, 2, exchange("", service("db", ports=(TCP,)))))
    assert (edge.protocol, edge.rps, edge.success, edge.p99_ms) == ("tcp", 10, 0.75, 0)


def test_open_tcp_connections_keep_an_edge_and_its_mtls() -> None:
    windows, mesh = TrafficWindows(), exchange("", service("db", ports=(TCP,)))
    report(windows, 2, {"db": {"upstream_cx_total": 2, "ssl.handshake": 2, "upstream_cx_active": 2}})
    for at in range(4, 200, 2):
        report(windows, at, {"db": {"upstream_cx_active": 1}})
    edge = only_edge(topology_of(windows, 199, mesh))
    assert (edge.rps, edge.success, edge.mtls) == (0, 1, True)
    report(windows, 200, {"db": {"upstream_cx_active": 0}})
    for at in range(202, 262, 2):
        report(windows, at, {"db": {"upstream_cx_active": 0, "membership_total": 1}})
    assert topology_of(windows, 260, mesh).edges == ()


def test_http_connections_without_requests_are_not_an_edge() -> None:
    windows = TrafficWindows()
    report(windows, 2, {"catalog": {"upstream_cx_total": 2, "ssl.handshake": 2, "membership_total": 1}})
    assert topology_of(windows, 2).edges == ()


def test_an_idle_edge_has_no_rate_and_then_disappears() -> None:
    windows = TrafficWindows()
    report(windows, 2, {"catalog": {"upstream_rq_completed": 20}})
    for at in range(4, 64, 2):
        report(windows, at, {"catalog": {"membership_total": 1}})
    assert only_edge(topology_of(windows, 2 + WINDOW)).rps == 0
    assert only_edge(topology_of(windows, 2 + WINDOW)).success == 1
    assert only_edge(topology_of(windows, 2 + EDGE_TTL - 0.1))
    assert topology_of(windows, 2 + EDGE_TTL).edges == ()


def test_the_rate_of_a_silent_node_drops_to_zero() -> None:
    windows = TrafficWindows()
    report(windows, 2, {"catalog": {"upstream_rq_completed": 20}})
    assert only_edge(topology_of(windows, 2)).rps == 10
    assert only_edge(topology_of(windows, 10)).rps == 2
    assert only_edge(topology_of(windows, 13)).rps == 0


def test_mtls_follows_handshakes_and_without_connections_the_configuration() -> None:
    windows = TrafficWindows()
    report(windows, 2, {"catalog": {"upstream_rq_completed": 1}})
    quiet = MeshContext(exchange(), plaintext_services={"catalog"})
    assert not only_edge(topology_in(windows, quiet, 2)).mtls
    report(windows, 4, {"catalog": {"upstream_rq_completed": 1, "upstream_cx_total": 1, "ssl.handshake": 1}})
    assert only_edge(topology_in(windows, quiet, 4)).mtls
    report(windows, 20, {"catalog": {"upstream_rq_completed": 1, "upstream_cx_total": 3}})
    assert not only_edge(topology_of(windows, 20)).mtls


def test_an_edge_shows_its_circuit_breaker_and_ejections() -> None:
    windows = TrafficWindows()
    report(
        windows,
        2,
        {
            "catalog": {"upstream_rq_completed": 1},
            "inventory": {"upstream_rq_completed": 1, "outlier_detection.ejections_active": 1},
        },
    )
    breaker = Breaker(from_="orders", to="catalog", state="open", ejected=2, hosts=2)
    topology = topology_of(windows, 2, breakers=(breaker,))
    assert [(edge.to, edge.breaker, edge.ejected) for edge in topology.edges] == [
        ("catalog", "open", 2),
        ("inventory", "none", 1),
    ]
    assert node(topology, "catalog").health == "degraded"


@pytest.mark.parametrize(
    ("failed", "health"), [(0, "healthy"), (1, "healthy"), (10, "degraded"), (60, "unhealthy")]
)
def test_node_health_follows_the_success_of_callers(failed: int, health: str) -> None:
    windows = TrafficWindows()
    report(windows, 2, {"catalog": {"upstream_rq_completed": 100, "upstream_rq_5xx": failed}})
    assert node(topology_of(windows, 2), "catalog").health == health


def test_node_health_follows_instances_and_proxies() -> None:
    mixed = service("a", instance("a-1"), instance("a-2", 2, health="unhealthy"))
    ill = service("b", instance("b-1", health="unhealthy"))
    topology = topology_in(
        TrafficWindows(), MeshContext(world(mixed, ill), connected={"ingress"}, recently_seen={"ingress"}), 0
    )
    assert [
        (
            topology_node.name,
            topology_node.role,
            topology_node.health,
            topology_node.instances,
            topology_node.healthy,
        )
        for topology_node in topology.nodes
    ] == [
        ("a", "service", "degraded", 2, 1),
        ("b", "service", "unhealthy", 1, 0),
        ("ingress", "gateway", "healthy", 0, 0),
    ]
    assert node(topology_in(TrafficWindows(), MeshContext(world()), 0), "ingress").health == "unknown"
    assert (
        node(
            topology_in(TrafficWindows(), MeshContext(world(), recently_seen={"ingress"}), 0), "ingress"
        ).health
        == "unhealthy"
    )


@pytest.mark.parametrize("service_name", ["catalog", "", "ingress"])
def test_metrics_of_another_service_are_dropped(service_name: str) -> None:
    windows, before = TrafficWindows(), dropped("foreign")
    body = metrics_export(service_name, "orders-1", {"catalog": {"upstream_rq_completed": 1}})
    list(windows.handle(ORDERS, body, 2))
    assert topology_of(windows, 2).edges == ()
    assert dropped("foreign") == before + 1


@given(st.binary(max_size=200))
def test_invalid_bytes_change_nothing(body: bytes) -> None:
    windows = TrafficWindows()
    list(windows.handle(ORDERS, body, 2))
    assert topology_of(windows, 2).edges == ()


def test_a_negative_count_is_malformed() -> None:
    windows, before = TrafficWindows(), dropped("malformed")
    report(windows, 2, {"catalog": {"upstream_rq_completed": -5}})
    assert topology_of(windows, 2).edges == ()
    assert dropped("malformed") == before + 1


def test_clusters_of_a_node_are_limited() -> None:
    windows, before = TrafficWindows(), metrics.EDGES_DROPPED._value.get()
    many = {f"c{number}": {"upstream_rq_completed": 1} for number in range(MAX_CLUSTERS_PER_NODE + 7)}
    report(windows, 2, many)
    assert len(list(windows.samples(2))) == MAX_CLUSTERS_PER_NODE
    assert metrics.EDGES_DROPPED._value.get() == before + 7


def test_a_silent_node_is_removed() -> None:
    windows = TrafficWindows()
    report(windows, 2, {"catalog": {"upstream_rq_completed": 1}})
    report(windows, 100, {"catalog": {"membership_total": 1}}, node="orders-2")
    assert windows._count == 1


@given(st.lists(st.tuples(st.floats(0.1, 40), st.integers(0, 9)), min_size=1, max_size=40))
def test_history_counts_every_request(flushes: list[tuple[float, int]]) -> None:
    windows, at, sent = TrafficWindows(), 100.0, 0
    for pause, count in flushes:
        at += pause
        if at > 950:
            break
        report(windows, at, {"catalog": {"upstream_rq_completed": count, "upstream_rq_retry": 1}})
        sent += count
        actual_edge_history = edge_history(windows.history, exchange(), "orders", "catalog", at)
        assert actual_edge_history is not None
        assert sum(point.requests for point in actual_edge_history.points) == pytest.approx(sent, abs=1e-3)


def test_history_covers_a_quarter_of_an_hour() -> None:
    windows = TrafficWindows()
    report(windows, 10, {"catalog": {"upstream_rq_completed": 7}})
    report(windows, 2000, {"catalog": {"upstream_rq_completed": 1}})
    actual_edge_history = edge_history(windows.history, exchange(), "orders", "catalog", 2000)
    assert actual_edge_history is not None
    assert len(actual_edge_history.points) <= 450
    assert sum(point.requests for point in actual_edge_history.points) == pytest.approx(1)
    assert edge_history(windows.history, exchange(), "orders", "inventory", 2000) is None


def test_a_node_whose_app_listens_nowhere_does_not_work() -> None:
    windows = TrafficWindows()
    assert windows.works(ORDERS, "orders-1", 2) is None
    report(windows, 2, {"catalog": {"membership_total": 1}})
    assert windows.works(ORDERS, "orders-1", 2)
    report(windows, 4, {"/app/http": {"membership_healthy": 0}, "/app/grpc": {"membership_healthy": 1}})
    assert windows.works(ORDERS, "orders-1", 4)
    report(windows, 6, {"/app/grpc": {"membership_healthy": 0}})
    assert windows.works(ORDERS, "orders-1", 6) is False
    report(windows, 8, {"/app/http": {"membership_healthy": 1}})
    assert windows.works(ORDERS, "orders-1", 8)
