"""The service table: all calls to each service, now and over a quarter of an hour."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwright.control_plane.api.models.topology import Breaker, ServiceSummary
from meshwright.control_plane.core.world import World
from meshwright.control_plane.telemetry.topology.edges import aggregate
from meshwright.control_plane.telemetry.topology.health import MeshContext, assess_nodes
from meshwright.control_plane.telemetry.topology.history import service_history
from meshwright.control_plane.telemetry.topology.history_store import MAX_EDGES, TREND_STEP
from meshwright.control_plane.telemetry.topology.service_table import TrendCache, build_service_table
from meshwright.control_plane.telemetry.topology.traffic import CallResults
from meshwright.control_plane.telemetry.topology.windows import TrafficWindows
from tests.control_plane.core.worlds import TCP, exchange, service, world
from tests.control_plane.telemetry.metric_exports import Stats
from tests.control_plane.telemetry.topology.test_windows import INGRESS, report

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


def service_rows(
    windows: TrafficWindows, at: float, mesh: World | None = None, breakers: tuple[Breaker, ...] = ()
) -> dict[str, ServiceSummary]:
    context = MeshContext(
        mesh or exchange(), breakers, connected={"ingress"}, inbound_results=windows.inbound_results(at)
    )
    edges = aggregate(windows.samples(at), context.world.services, at, windows.edge_ttl)
    nodes, trends = tuple(assess_nodes(edges, context)), TrendCache()
    points = {node.name: trends.get(node.name, windows.history, context, at) for node in nodes}
    return {row.name: row for row in build_service_table(edges, context, nodes, points).services}


def test_a_service_sums_calls_to_it_and_a_gateway_calls_from_it() -> None:
    windows = TrafficWindows()
    report(windows, 2, OK)
    report(windows, 2, {**BAD, "orders": {"upstream_rq_completed": 20}}, INGRESS)
    rows = service_rows(windows, 2)
    catalog = rows["catalog"]
    assert (catalog.rps, catalog.success, catalog.retries_per_s) == (20, 0.75, 2)
    assert 2 <= catalog.p50_ms <= 5 < catalog.p95_ms <= 50
    assert (
        rows["ingress"].role,
        rows["ingress"].rps,
        rows["ingress"].success,
    ) == ("gateway", 20, 0.75)
    assert (rows["orders"].rps, rows["orders"].success) == (10, 1)
    assert (
        rows["inventory"].rps,
        rows["inventory"].success,
        rows["inventory"].p99_ms,
    ) == (0, 1, 0)
    assert rows["inventory"].history.rps == (0,)


def test_calls_through_a_gateway_count_once_there_and_once_outside() -> None:
    windows = TrafficWindows()
    report(windows, 2, {"ingress/external/cards": {"upstream_rq_completed": 20}})
    report(windows, 2, {"/external/cards": {"upstream_rq_completed": 20}}, INGRESS)
    rows = service_rows(windows, 2)
    assert (rows["ingress"].rps, rows["external/cards"].rps) == (10, 10)


def test_the_worst_circuit_breaker_is_shown() -> None:
    windows = TrafficWindows()
    report(windows, 2, OK)
    report(windows, 2, OK, INGRESS)
    breakers = (
        Breaker(from_="orders", to="catalog", state="partial", ejected=1, hosts=3),
        Breaker(from_="ingress", to="catalog", state="open", ejected=3, hosts=3),
    )
    rows = service_rows(windows, 2, breakers=breakers)
    assert (rows["catalog"].breaker, rows["catalog"].ejected) == ("open", 3)
    assert (rows["ingress"].breaker, rows["orders"].breaker) == ("open", "none")


def test_tcp_services_count_connections() -> None:
    windows, mesh = TrafficWindows(), exchange("", service("db", ports=(TCP,)))
    report(
        windows,
        2,
        {"db": {"upstream_cx_total": 16, "upstream_cx_connect_fail": 4, "upstream_cx_none_healthy": 4}},
    )
    db = service_rows(windows, 2, mesh)["db"]
    assert (db.rps, db.success, db.p99_ms) == (10, 0.6, 0)
    points = service_history(windows.history, mesh, "db", 2).points
    assert sum(point.requests for point in points) == pytest.approx(20)
    assert sum(point.failures for point in points) == pytest.approx(8)
    assert sum(point.connections for point in points) == pytest.approx(16)


def test_a_trend_ends_with_the_current_window() -> None:
    windows, at = TrafficWindows(), 0.0
    for at in range(2, 402, 2):
        report(windows, at, OK if at <= 200 else BAD)
    trend = service_rows(windows, at)["catalog"].history
    assert trend.step == TREND_STEP
    assert len(trend.rps) == len(trend.failures_per_s) == len(trend.p99_ms) == 25
    assert trend.rps[1:] == pytest.approx([10] * (len(trend.rps) - 1), rel=1e-3)
    assert trend.failures_per_s[1] == 0
    assert trend.failures_per_s[-1] == 5
    assert trend.p99_ms[1] <= 5 < trend.p99_ms[-1]


@given(st.lists(st.tuples(st.floats(0.5, 90), st.integers(0, 99)), min_size=1, max_size=40))
def test_a_trend_counts_every_request_within_its_length(flushes: list[tuple[float, int]]) -> None:
    windows, at, sent = TrafficWindows(), 1000.0, 0
    for pause, count in flushes:
        at += pause
        report(windows, at, {"catalog": {"upstream_rq_completed": count}})
        sent += count
    later = service_rows(windows, at + 30)["catalog"].history
    assert len(later.rps) <= 60
    if at + 30 < 1000 + 800:
        assert sum(later.rps) * TREND_STEP == pytest.approx(sent, abs=0.1)


def test_completed_points_are_computed_once() -> None:
    windows, trends, context = TrafficWindows(), TrendCache(), MeshContext(exchange())
    for at in range(2, 102, 2):
        report(windows, at, OK)
    first = trends.get("catalog", windows.history, context, 100)
    assert trends.get("catalog", windows.history, context, 100.9) is first
    assert len(trends.get("catalog", windows.history, context, 100 + TREND_STEP)[0]) == len(first[0]) + 1


def test_failed_inbound_responses_affect_health() -> None:
    windows, value = TrafficWindows(), exchange().services["orders"]
    report(windows, 2, {"/inbound": {"5": 30, "2": 70}})
    assert windows.inbound_results(2) == {"orders": CallResults(100, 30)}
    assert service_rows(windows, 2)["orders"].health == "degraded"
    report(windows, 4, {"/inbound": {"5": 70}})
    assert service_rows(windows, 4, world(value))["orders"].health == "unhealthy"


def test_responses_of_a_proxy_itself_are_calls_of_the_service_that_the_caller_meant() -> None:
    windows = TrafficWindows()
    report(
        windows,
        2,
        {
            "catalog": {"upstream_rq_completed": 10, "local 503 FI": 8, "local 404 FI": 2},
            "of orders:grpc": {"local 200 NR 12": 3, "local 200 - 2": 1},
            "orders:grpc": {"grpc.0": 6, "grpc.14": 4, "local 200 FI 14": 4},
            "of inventory": {"local 500 -": 5, "local 404 NR": 4, "local 403 -": 1},
        },
        INGRESS,
    )
    rows = service_rows(windows, 2)
    assert (rows["catalog"].rps, rows["catalog"].success) == (10, 0.6)
    assert (rows["orders"].rps, rows["orders"].success) == (7, round(6 / 14, 6))
    assert (rows["inventory"].rps, rows["inventory"].success, rows["inventory"].refused_per_s) == (
        5,
        0.1,
        0.5,
    )
    assert (rows["ingress"].rps, rows["ingress"].health) == (22, "unhealthy"), "judged by its requests"


def test_a_gateway_counts_requests_for_no_service() -> None:
    windows = TrafficWindows()
    report(windows, 2, {"catalog": {"upstream_rq_completed": 10}, "of -": {"local 500 -": 10}}, INGRESS)
    row = service_rows(windows, 2)["ingress"]
    assert (row.rps, row.success, row.health) == (10, 0.5, "degraded")
    report(windows, 20, {"catalog": {"upstream_rq_completed": 10}, "of -": {"local 404 NR": 40}}, INGRESS)
    row = service_rows(windows, 20)["ingress"]
    assert (row.rps, row.success, row.refused_per_s) == (25, 1, 20), "any path may be asked for"
    assert row.health == "degraded"
    assert row.reason == "80 % of its requests are refused (4xx by the mesh)"


@pytest.mark.parametrize(
    ("flags", "median"),
    [("DI", 550), ("DI,UT", 5.5), ("UT", 5.5)],
    ids=["responded", "timed out", "no delay"],
)
def test_what_callers_waited_is_in_the_latency(flags: str, median: float) -> None:
    windows = TrafficWindows()
    quick, slow = (0, 0, 0, 0, 10, 0, 0, 0, 0), (0, 0, 0, 0, 0, 0, 0, 10, 0)
    stats: Stats = {"upstream_rq_completed": 10, "upstream_rq_time": quick, f"wait {flags}": slow}
    report(windows, 2, {"catalog": stats}, INGRESS)
    row = service_rows(windows, 2)["catalog"]
    assert (row.p50_ms, round(row.p99_ms)) == (median if flags == "DI" else 10, 991 if flags == "DI" else 982)


def test_one_caller_has_at_most_half_of_the_histories() -> None:
    windows = TrafficWindows()
    for number in range(5):
        names = {f"c{number}-{cluster}": {"upstream_rq_completed": 1} for cluster in range(900)}
        report(windows, 2, names, node=f"orders-{number}")
    assert len(list(windows.history.edges("orders"))) == MAX_EDGES // 2
    report(windows, 2, OK, INGRESS)
    assert service_history(windows.history, exchange(), "catalog", 2).points
