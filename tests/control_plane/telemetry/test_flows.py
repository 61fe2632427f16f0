"""The fold of metrics, and the picture that comes of it."""

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
from tests.control_plane.telemetry.otlp import Stats, metrics_export

ORDERS = Identity("mesh.local", "service", "orders")
INGRESS = Identity("mesh.local", "gateway", "ingress")


def told(
    flows: TrafficWindows, at: float, clusters: Mapping[str, Stats], by: Identity = ORDERS, node: str = ""
) -> None:
    body = metrics_export(by.name, node or f"{by.name}-1", clusters, at)
    for _ in flows.handle(by, body, at):
        pass


def seen(
    flows: TrafficWindows, at: float, of: World | None = None, breakers: tuple[Breaker, ...] = ()
) -> Topology:
    return drawn(flows, MeshContext(of or exchange(), breakers), at)


def drawn(flows: TrafficWindows, setting: MeshContext, at: float) -> Topology:
    return build_topology(aggregate(flows.samples(at), setting.world.services, at, flows.edge_ttl), setting)


def only(found: Topology) -> TopologyEdge:
    (edge,) = found.edges
    return edge


def node(found: Topology, name: str) -> TopologyNode:
    return next(one for one in found.nodes if one.name == name)


def dropped(reason: str) -> float:
    return float(metrics.DROPPED.labels(reason)._value.get())


def test_an_edge_shows_what_was_answered_not_what_was_tried() -> None:
    flows = TrafficWindows()
    for at in (2, 4, 6, 8, 10):
        told(
            flows,
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
    edge = only(seen(flows, 10))
    assert (edge.from_, edge.to, edge.protocol) == ("orders", "catalog", "http")
    assert edge.rps == 100
    assert edge.success == 0.99
    assert edge.retries_per_s == 5
    assert 2 <= edge.p50_ms <= 5
    assert 5 <= edge.p95_ms <= 10
    assert 5 <= edge.p99_ms <= 100
    assert (edge.breaker, edge.mtls) == ("closed", True)


@given(st.lists(st.floats(-0.9, 0.9), min_size=8, max_size=8), st.integers(1, 50))
def test_a_rate_does_not_follow_the_jitter_of_flushes(jitter: list[float], rate: int) -> None:
    flows = TrafficWindows()
    for number, late in enumerate(jitter):
        at = 10 + 2 * number + late
        body = metrics_export(
            "orders", "orders-1", {"catalog": {"upstream_rq_completed": 2 * rate}}, 2 * number
        )
        list(flows.handle(ORDERS, body, at))
        assert only(seen(flows, at)).rps == rate


@given(st.lists(st.tuples(st.floats(0.1, 9), st.integers(0, 99), st.integers(0, 9)), max_size=30))
def test_what_is_recent_is_the_sum_of_the_window(flushes: list[tuple[float, int, int]]) -> None:
    flows, at, told_at = TrafficWindows(), 100.0, []
    for pause, quick, slow in flushes:
        at += pause
        spread = (0, quick, 0, 0, 0, 0, 0, slow, 0)
        told(flows, at, {"catalog": {"upstream_rq_completed": quick + slow, "upstream_rq_time": spread}})
        told_at.append((at, quick, slow))
        window = [one for one in told_at if one[0] > at - WINDOW]
        (found,) = [one.counters for one in flows.samples(at)] or [UpstreamCounters()]
        assert found.completed == sum(one[1] + one[2] for one in window)
        anew = UpstreamCounters(
            latency_buckets={
                (0.5, 1.0): sum(one[1] for one in window),
                (100.0, 1000.0): sum(one[2] for one in window),
            }
        )
        assert found.latency_percentiles() == anew.latency_percentiles()


def test_replicas_add_up() -> None:
    flows = TrafficWindows()
    for name, count in (("orders-1", 20), ("orders-2", 60)):
        told(flows, 10, {"catalog": {"upstream_rq_completed": count}}, node=name)
    assert only(seen(flows, 10)).rps == 40


def test_ports_and_subsets_are_one_callee_and_what_is_no_service_is_none() -> None:
    flows = TrafficWindows()
    one = {"upstream_rq_completed": 10}
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
    told(flows, 2, dict.fromkeys(given_clusters, one), INGRESS)
    found = {(edge.from_, edge.to): edge.rps for edge in seen(flows, 2).edges}
    assert found == {("ingress", "catalog"): 10, ("ingress", "orders"): 5}


def test_grpc_is_judged_by_its_own_status() -> None:
    flows = TrafficWindows()
    told(
        flows,
        2,
        {"orders:grpc": {"upstream_rq_completed": 98, "upstream_rq_5xx": 1, "grpc.0": 90, "grpc.5": 6,
                         "grpc.14": 3, "grpc.4": 1}},
        INGRESS,
    )  # fmt: skip
    edge = only(seen(flows, 2))
    assert (edge.protocol, edge.rps, edge.success) == ("grpc", 50, 0.96)


def test_tcp_is_seen_by_its_connections() -> None:
    flows = TrafficWindows()
    told(flows, 2, {"db": {"upstream_cx_total": 20, "upstream_cx_connect_fail": 5, "ssl.handshake": 15}})
    edge = only(seen(flows, 2, exchange("", service("db", ports=(TCP,)))))
    assert (edge.protocol, edge.rps, edge.success, edge.p99_ms) == ("tcp", 10, 0.75, 0)


def test_open_connections_keep_an_edge_and_its_mtls() -> None:
    flows, mesh = TrafficWindows(), exchange("", service("db", ports=(TCP,)))
    told(flows, 2, {"db": {"upstream_cx_total": 2, "ssl.handshake": 2, "upstream_cx_active": 2}})
    for at in range(4, 200, 2):
        told(flows, at, {"db": {"upstream_cx_active": 1}})
    edge = only(seen(flows, 199, mesh))
    assert (edge.rps, edge.success, edge.mtls) == (0, 1, True)
    told(flows, 200, {"db": {"upstream_cx_active": 0}})
    for at in range(202, 262, 2):
        told(flows, at, {"db": {"upstream_cx_active": 0, "membership_total": 1}})
    assert seen(flows, 260, mesh).edges == ()


def test_connections_alone_are_no_http_traffic() -> None:
    flows = TrafficWindows()
    told(flows, 2, {"catalog": {"upstream_cx_total": 2, "ssl.handshake": 2, "membership_total": 1}})
    assert seen(flows, 2).edges == ()


def test_an_edge_fades_and_a_rate_ends_before() -> None:
    flows = TrafficWindows()
    told(flows, 2, {"catalog": {"upstream_rq_completed": 20}})
    for at in range(4, 64, 2):
        told(flows, at, {"catalog": {"membership_total": 1}})
    assert only(seen(flows, 2 + WINDOW)).rps == 0
    assert only(seen(flows, 2 + WINDOW)).success == 1
    assert only(seen(flows, 2 + EDGE_TTL - 0.1))
    assert seen(flows, 2 + EDGE_TTL).edges == ()


def test_a_node_that_died_does_not_go_on_calling() -> None:
    flows = TrafficWindows()
    told(flows, 2, {"catalog": {"upstream_rq_completed": 20}})
    assert only(seen(flows, 2)).rps == 10
    assert only(seen(flows, 10)).rps == 2
    assert only(seen(flows, 13)).rps == 0


def test_handshakes_tell_of_mtls_and_configuration_where_there_are_none() -> None:
    flows = TrafficWindows()
    told(flows, 2, {"catalog": {"upstream_rq_completed": 1}})
    quiet = MeshContext(exchange(), plaintext_services={"catalog"})
    assert not only(drawn(flows, quiet, 2)).mtls
    told(flows, 4, {"catalog": {"upstream_rq_completed": 1, "upstream_cx_total": 1, "ssl.handshake": 1}})
    assert only(drawn(flows, quiet, 4)).mtls
    told(flows, 20, {"catalog": {"upstream_rq_completed": 1, "upstream_cx_total": 3}})
    assert not only(seen(flows, 20)).mtls


def test_breakers_and_ejections_stand_on_their_edge() -> None:
    flows = TrafficWindows()
    told(
        flows,
        2,
        {
            "catalog": {"upstream_rq_completed": 1},
            "inventory": {"upstream_rq_completed": 1, "outlier_detection.ejections_active": 1},
        },
    )
    breaker = Breaker(from_="orders", to="catalog", state="open", ejected=2, hosts=2)
    found = seen(flows, 2, breakers=(breaker,))
    assert [(one.to, one.breaker, one.ejected) for one in found.edges] == [
        ("catalog", "open", 2),
        ("inventory", "closed", 1),
    ]
    assert node(found, "catalog").health == "degraded"


@pytest.mark.parametrize(
    ("failed", "health"), [(0, "healthy"), (1, "healthy"), (10, "degraded"), (60, "unhealthy")]
)
def test_health_follows_the_callers(failed: int, health: str) -> None:
    flows = TrafficWindows()
    told(flows, 2, {"catalog": {"upstream_rq_completed": 100, "upstream_rq_5xx": failed}})
    assert node(seen(flows, 2), "catalog").health == health


def test_health_follows_the_instances() -> None:
    mixed = service("a", instance("a-1"), instance("a-2", 2, health="unhealthy"))
    ill = service("b", instance("b-1", health="unhealthy"))
    found = drawn(
        TrafficWindows(), MeshContext(world(mixed, ill), connected={"ingress"}, recently_seen={"ingress"}), 0
    )
    assert [(one.name, one.role, one.health, one.instances, one.healthy) for one in found.nodes] == [
        ("a", "service", "degraded", 2, 1),
        ("b", "service", "unhealthy", 1, 0),
        ("ingress", "gateway", "healthy", 0, 0),
    ]
    assert node(drawn(TrafficWindows(), MeshContext(world()), 0), "ingress").health == "unknown"
    assert (
        node(drawn(TrafficWindows(), MeshContext(world(), recently_seen={"ingress"}), 0), "ingress").health
        == "unhealthy"
    )


@pytest.mark.parametrize("service_name", ["catalog", "", "ingress"])
def test_nobody_speaks_for_another(service_name: str) -> None:
    flows, before = TrafficWindows(), dropped("foreign")
    body = metrics_export(service_name, "orders-1", {"catalog": {"upstream_rq_completed": 1}})
    list(flows.handle(ORDERS, body, 2))
    assert seen(flows, 2).edges == ()
    assert dropped("foreign") == before + 1


@given(st.binary(max_size=200))
def test_garbage_is_harmless(body: bytes) -> None:
    flows = TrafficWindows()
    list(flows.handle(ORDERS, body, 2))
    assert seen(flows, 2).edges == ()


def test_a_count_that_is_none_is_counted_as_malformed() -> None:
    flows, before = TrafficWindows(), dropped("malformed")
    told(flows, 2, {"catalog": {"upstream_rq_completed": -5}})
    assert seen(flows, 2).edges == ()
    assert dropped("malformed") == before + 1


def test_the_number_of_edges_is_bounded() -> None:
    flows, before = TrafficWindows(), metrics.EDGES_DROPPED._value.get()
    many = {f"c{number}": {"upstream_rq_completed": 1} for number in range(MAX_CLUSTERS_PER_NODE + 7)}
    told(flows, 2, many)
    assert len(list(flows.samples(2))) == MAX_CLUSTERS_PER_NODE
    assert metrics.EDGES_DROPPED._value.get() == before + 7


def test_a_silent_node_is_forgotten() -> None:
    flows = TrafficWindows()
    told(flows, 2, {"catalog": {"upstream_rq_completed": 1}})
    told(flows, 100, {"catalog": {"membership_total": 1}}, node="orders-2")
    assert flows._count == 1


@given(st.lists(st.tuples(st.floats(0.1, 40), st.integers(0, 9)), min_size=1, max_size=40))
def test_history_keeps_every_request(flushes: list[tuple[float, int]]) -> None:
    flows, at, sent = TrafficWindows(), 100.0, 0
    for pause, count in flushes:
        at += pause
        if at > 950:
            break
        told(flows, at, {"catalog": {"upstream_rq_completed": count, "upstream_rq_retry": 1}})
        sent += count
        found = edge_history(flows.history, exchange(), "orders", "catalog", at)
        assert found is not None
        assert sum(one.requests for one in found.points) == pytest.approx(sent, abs=1e-3)


def test_history_is_bounded_in_time() -> None:
    flows = TrafficWindows()
    told(flows, 10, {"catalog": {"upstream_rq_completed": 7}})
    told(flows, 2000, {"catalog": {"upstream_rq_completed": 1}})
    found = edge_history(flows.history, exchange(), "orders", "catalog", 2000)
    assert found is not None
    assert len(found.points) <= 450
    assert sum(one.requests for one in found.points) == pytest.approx(1)
    assert edge_history(flows.history, exchange(), "orders", "inventory", 2000) is None
