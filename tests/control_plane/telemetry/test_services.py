"""The table of services: all calls to each, by whomever, now and over a quarter of an hour."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwright.control_plane.api.models.topology import Breaker, ServiceSummary
from meshwright.control_plane.core.world import World
from meshwright.control_plane.telemetry.adaptive_cache import MAX_TTL, MIN_TTL, AdaptiveCache
from meshwright.control_plane.telemetry.topology.edges import aggregate
from meshwright.control_plane.telemetry.topology.health import MeshContext, assess_nodes
from meshwright.control_plane.telemetry.topology.history import service_history
from meshwright.control_plane.telemetry.topology.history_store import MAX_EDGES, TREND_STEP
from meshwright.control_plane.telemetry.topology.service_table import TrendCache, build_service_table
from meshwright.control_plane.telemetry.topology.windows import TrafficWindows
from tests.control_plane.core.worlds import TCP, exchange, service, world
from tests.control_plane.telemetry.otlp import Stats
from tests.control_plane.telemetry.test_flows import INGRESS, told

OK: dict[str, Stats] = {
    "catalog": {"upstream_rq_completed": 20, "upstream_rq_time": (0, 0, 0, 20, 0, 0, 0, 0, 0)}
}
BAD: dict[str, Stats] = {
    "catalog": {
        "upstream_rq_completed": 20,
        "upstream_rq_5xx": 10,
        "upstream_rq_retry": 4,
        "upstream_rq_time": (0, 0, 0, 0, 0, 20, 0, 0, 0),
    }
}


def rows(
    flows: TrafficWindows, at: float, of: World | None = None, breakers: tuple[Breaker, ...] = ()
) -> dict[str, ServiceSummary]:
    setting = MeshContext(
        of or exchange(), breakers, connected={"ingress"}, inbound_results=flows.inbound_results(at)
    )
    edges = aggregate(flows.samples(at), setting.world.services, at, flows.edge_ttl)
    found, trends = tuple(assess_nodes(edges, setting)), TrendCache()
    points = {one.name: trends.get(one.name, flows.history, setting, at) for one in found}
    return {one.name: one for one in build_service_table(edges, setting, found, points).services}


def test_a_service_is_all_calls_to_it_and_a_gateway_all_that_it_makes() -> None:
    flows = TrafficWindows()
    told(flows, 2, OK)
    told(flows, 2, {**BAD, "orders": {"upstream_rq_completed": 20}}, INGRESS)
    found = rows(flows, 2)
    catalog = found["catalog"]
    assert (catalog.rps, catalog.success, catalog.retries_per_s) == (20, 0.75, 2)
    assert 2 <= catalog.p50_ms <= 5 < catalog.p95_ms <= 50
    assert (found["ingress"].role, found["ingress"].rps, found["ingress"].success) == ("gateway", 20, 0.75)
    assert (found["orders"].rps, found["orders"].success) == (10, 1)
    assert (found["inventory"].rps, found["inventory"].success, found["inventory"].p99_ms) == (0, 1, 0)
    assert found["inventory"].history.rps == (0,)


def test_the_worst_breaker_counts() -> None:
    flows = TrafficWindows()
    told(flows, 2, OK)
    told(flows, 2, OK, INGRESS)
    breakers = (
        Breaker(from_="orders", to="catalog", state="partial", ejected=1, hosts=3),
        Breaker(from_="ingress", to="catalog", state="open", ejected=3, hosts=3),
    )
    found = rows(flows, 2, breakers=breakers)
    assert (found["catalog"].breaker, found["catalog"].ejected) == ("open", 3)
    assert (found["ingress"].breaker, found["orders"].breaker) == ("open", "closed")


def test_tcp_counts_connections() -> None:
    flows, mesh = TrafficWindows(), exchange("", service("db", ports=(TCP,)))
    told(
        flows,
        2,
        {"db": {"upstream_cx_total": 16, "upstream_cx_connect_fail": 4, "upstream_cx_none_healthy": 4}},
    )
    db = rows(flows, 2, mesh)["db"]
    assert (db.rps, db.success, db.p99_ms) == (10, 0.6, 0)
    points = service_history(flows.history, mesh, "db", 2).points
    assert sum(one.requests for one in points) == pytest.approx(20)
    assert sum(one.failures for one in points) == pytest.approx(8)
    assert sum(one.connections for one in points) == pytest.approx(16)


def test_a_trend_is_what_is_over_and_the_window_of_now() -> None:
    flows, at = TrafficWindows(), 0.0
    for at in range(2, 402, 2):
        told(flows, at, OK if at <= 200 else BAD)
    trend = rows(flows, at)["catalog"].history
    assert trend.step == TREND_STEP
    assert len(trend.rps) == len(trend.failures_per_s) == len(trend.p99_ms) == 25
    assert trend.rps[1:] == pytest.approx([10] * (len(trend.rps) - 1), rel=1e-3)
    assert trend.failures_per_s[1] == 0
    assert trend.failures_per_s[-1] == 5
    assert trend.p99_ms[1] <= 5 < trend.p99_ms[-1]


@given(st.lists(st.tuples(st.floats(0.5, 90), st.integers(0, 99)), min_size=1, max_size=40))
def test_a_trend_is_bounded_and_true(flushes: list[tuple[float, int]]) -> None:
    flows, at, sent = TrafficWindows(), 1000.0, 0
    for pause, count in flushes:
        at += pause
        told(flows, at, {"catalog": {"upstream_rq_completed": count}})
        sent += count
    later = rows(flows, at + 30)["catalog"].history
    assert len(later.rps) <= 60
    if at + 30 < 1000 + 800:
        assert sum(later.rps) * TREND_STEP == pytest.approx(sent, abs=0.1)


def test_what_is_over_is_worked_out_once() -> None:
    flows, trends, setting = TrafficWindows(), TrendCache(), MeshContext(exchange())
    for at in range(2, 102, 2):
        told(flows, at, OK)
    first = trends.get("catalog", flows.history, setting, 100)
    assert trends.get("catalog", flows.history, setting, 100.9) is first
    assert len(trends.get("catalog", flows.history, setting, 100 + TREND_STEP)[0]) == len(first[0]) + 1


def test_a_service_that_fails_whoever_calls_it_is_not_well() -> None:
    flows, own = TrafficWindows(), exchange().services["orders"]
    told(flows, 2, {"/inbound": {"5": 30, "2": 70}})
    assert flows.inbound_results(2) == {"orders": (100, 30)}
    assert rows(flows, 2)["orders"].health == "degraded"
    told(flows, 4, {"/inbound": {"5": 70}})
    assert rows(flows, 4, world(own))["orders"].health == "unhealthy"


def test_faults_on_purpose_are_failed_calls() -> None:
    flows = TrafficWindows()
    told(
        flows,
        2,
        {
            "catalog": {"upstream_rq_completed": 10, "injected.503": 8, "injected.404": 2},
            "orders:grpc": {"grpc.0": 6, "grpc.14": 4, "injected.200": 4},
        },
        INGRESS,
    )
    found = rows(flows, 2)
    assert (found["catalog"].rps, found["catalog"].success) == (10, 0.6)
    assert (found["orders"].rps, found["orders"].success) == (5, 0.6)


def test_one_caller_cannot_use_up_all_histories() -> None:
    flows = TrafficWindows()
    for number in range(5):
        names = {f"c{number}-{each}": {"upstream_rq_completed": 1} for each in range(900)}
        told(flows, 2, names, node=f"orders-{number}")
    assert len(list(flows.history.edges("orders"))) == MAX_EDGES // 2
    told(flows, 2, OK, INGRESS)
    assert service_history(flows.history, exchange(), "catalog", 2).points


def test_an_answer_stands_for_a_moment_and_longer_when_it_was_dear() -> None:
    clock, cost, asked = [0.0], [0.0], []

    def ask() -> int:
        asked.append(clock[0])
        clock[0] += cost[0]
        return len(asked)

    kept = AdaptiveCache(ask, lambda: clock[0])
    assert [kept(), kept()] == [1, 1]
    clock[0] = MIN_TTL
    cost[0] = 1.0
    assert kept() == 2
    clock[0] += MAX_TTL - 0.01
    assert kept() == 2
    clock[0] += 0.01
    assert kept() == 3
