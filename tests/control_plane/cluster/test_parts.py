"""What control planes tell each other comes through whole, once, and in time by the reader's clock."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from meshwright.control_plane.api.models.proxies import ClusterReport, ProxyReport, ProxyState, ProxyStatus
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.cluster import wire
from meshwright.control_plane.cluster.remote_state import RemoteState
from meshwright.control_plane.cluster.wire import RemoteProxy, ReportHeader, StateReport, WireError
from meshwright.control_plane.status.conditions import RolloutCount
from meshwright.control_plane.telemetry.ingest.envoy_stats import StatPoint
from meshwright.control_plane.telemetry.topology.counters import UpstreamCounters
from meshwright.control_plane.telemetry.topology.replication_log import ENTRY_TTL, READER_TTL, ReplicationLog
from meshwright.control_plane.telemetry.topology.windows import MetricsFlush, NodeFlush, TrafficWindows
from tests.control_plane.telemetry.otlp import Stats, metrics_export

FRONT = Identity("mesh.local", "service", "front")


def proxy(name: str, state: ProxyState = "synced", revision: int = 3, error: str = "") -> RemoteProxy:
    return RemoteProxy(name=name, service="front", state=state, revision=revision, error=error)


def status(name: str, state: ProxyState = "synced", revision: int = 3) -> ProxyStatus:
    return ProxyStatus(name=name, service="front", state=state, revision=revision)


def report(node: str, memory: int = 1) -> ProxyReport:
    cluster = ClusterReport(cluster="back", hosts=2, ejected=1, ejected_addresses=("10.0.0.1:80",))
    return ProxyReport(node=node, service="front", memory=memory, clusters=(cluster,))


def through(lines: Iterator[str] | list[str]) -> StateReport:
    part, read = wire.begin("\n".join(["H" + ReportHeader(id="b").model_dump_json(), *lines]).encode())
    for line in read:
        wire.take(part, line, "mesh.local")
    return part


def test_a_flush_comes_through_whole() -> None:
    counts = UpstreamCounters(
        completed=5, failed=1, retries=2, latency_buckets={(0.0, 0.5): 3.0, (10.0, math.inf): 2.0}
    )
    told = NodeFlush(
        FRONT,
        "front-1",
        MetricsFlush(
            {"back/v2": counts},
            UpstreamCounters(completed=7),
            [StatPoint("back", "membership_total", 2.0, 77)],
            2.0,
            77,
        ),
    )
    ((age, read),) = through([wire.write_flush(1.25, told)]).flushes
    assert age == 1.25
    assert (read.identity, read.node, read.flush.clusters, read.flush.inbound) == (
        FRONT, "front-1", {"back/v2": counts}, UpstreamCounters(completed=7),
    )  # fmt: skip
    assert [(one.cluster, one.stat, one.value) for one in read.flush.gauges] == [
        ("back", "membership_total", 2.0)
    ]
    assert (read.flush.seconds, read.flush.end_ns) == (2.0, 77)


@pytest.mark.parametrize(
    "line",
    [
        "", "X{}", "P{}", "R", "Rnan {}", "D[1]", "D[1,2,3,4]", "F[]", "F{}",
        'F[0,"control-plane","x","x-1",2,0,{},[0,0,0,0,0,0,0,0,[]],[]]',
        'F[0,"service","x","x-1",2,0,{"b":[-1,0,0,0,0,0,0,0,[]]},[0,0,0,0,0,0,0,0,[]],[]]',
        'F[0,"service","x","x-1",2,0,{"b":[1e999,0,0,0,0,0,0,0,[]]},[0,0,0,0,0,0,0,0,[]],[]]',
        'F[0,"service","x","x-1",2,0,{"b":[1,0,0,0,0,0,0,0,[1,2]]},[0,0,0,0,0,0,0,0,[]],[]]',
    ],
)  # fmt: skip
def test_what_is_no_part_is_an_error_and_nothing_else(line: str) -> None:
    with pytest.raises(WireError):
        through([line])
    with pytest.raises(WireError):
        wire.begin(line.encode())


def fold(flows: TrafficWindows, count: int, now: float, node: str = "front-1") -> None:
    spread = (0, 0, count, 0, 0, 0, 0, 0, 0)
    stats: dict[str, Stats] = {"back": {"upstream_rq_completed": count, "upstream_rq_time": spread}}
    body = metrics_export("front", node, stats, at=now)
    for _ in flows.handle(FRONT, body, now):
        pass


def hand_on(one: TrafficWindows, other: TrafficWindows, since: int, ages: tuple[float, float]) -> int:
    """As a poll does; clocks of both given. The new mark."""
    here, there = ages
    for entry in one.replication_log.since(since, here):
        ((age, told),) = through([wire.write_flush(here - entry.received_at, entry.item)]).flushes
        for _ in other.ingest(told, there - age):
            pass
    return one.replication_log.last_sequence


def edges(flows: TrafficWindows, now: float) -> dict[str, tuple[float, float]]:
    return {seen.cluster: (seen.counters.completed, seen.seconds) for seen in flows.samples(now)}


def test_what_came_to_one_is_seen_at_all_and_goes_no_further() -> None:
    first, second, third = TrafficWindows(), TrafficWindows(), TrafficWindows()
    marks = [
        first.replication_log.since(0, 10.0),
        second.replication_log.since(0, 5010.0),
        third.replication_log.since(0, 0.1),
    ]
    assert marks == [[], [], []]
    mark = 0
    for tick in range(4):
        fold(first, 10, 11.0 + 2 * tick)
        mark = hand_on(first, second, mark, (12.0 + 2 * tick, 5012.0 + 2 * tick))
    assert edges(first, 18.0) == edges(second, 5018.0)
    assert edges(first, 18.0)["back"][0] == 40
    assert second.replication_log.last_sequence == 0
    assert hand_on(second, third, 0, (5018.0, 18.0)) == 0
    assert edges(third, 18.0) == {}


def test_a_sidecar_that_moves_is_counted_once() -> None:
    first, second = TrafficWindows(), TrafficWindows()
    first.replication_log.since(0, 10.0)
    second.replication_log.since(0, 10.0)
    fold(first, 10, 11.0)
    fold(second, 7, 13.0)
    hand_on(first, second, 0, (14.0, 14.0))
    hand_on(second, first, 0, (14.0, 14.0))
    assert edges(first, 14.0)["back"][0] == edges(second, 14.0)["back"][0] == 17
    assert [sum(row["answered"] for _, row in series.points(15.0)) for flows in (first, second)
            for _, series in flows.history.edges("front")] == [17, 17]  # fmt: skip


def test_calls_judged_as_grpc_stay_so() -> None:
    first, second = TrafficWindows(), TrafficWindows()
    first.replication_log.since(0, 10.0)
    body = metrics_export(
        "front", "front-1", {"back": {"upstream_rq_completed": 9, "grpc.0": 5, "grpc.14": 4}}
    )
    for _ in first.handle(FRONT, body, 11.0):
        pass
    hand_on(first, second, 0, (12.0, 12.0))
    (seen,) = second.samples(12.0)
    assert (seen.counters.completed, seen.counters.failed) == (9, 4)


def test_a_journal_is_kept_while_somebody_asks() -> None:
    journal: ReplicationLog[str] = ReplicationLog()
    journal.append("in the first minute", 1.0)
    assert [one.item for one in journal.since(0, 2.0)] == ["in the first minute"]
    late = 3.0 + READER_TTL
    journal.append("nobody asks any more", late)
    assert (journal.since(0, late), journal.last_sequence) == ([], 1)
    journal.append("a", late)
    journal.append("b", late + 1)
    assert [one.item for one in journal.since(1, late + 2)] == ["a", "b"]
    assert [one.item for one in journal.since(2, late + 2)] == ["b"]
    assert journal.since(3, late + ENTRY_TTL - 1) == []
    journal.append("c", late + ENTRY_TTL)
    assert [(one.sequence, one.item) for one in journal.since(0, late + ENTRY_TTL)] == [(3, "b"), (4, "c")]


def part(id: str, *proxies: RemoteProxy, **head: bool) -> StateReport:
    return StateReport(ReportHeader(id=id, **head), list(proxies))


def test_of_two_that_know_a_proxy_the_connected_one_counts_everywhere() -> None:
    gone, here = status("front-1", "disconnected", 9), status("front-1", "pending", 2)
    for own, told in ((gone, here), (here, gone)):
        foreign = RemoteState()
        foreign.update(part("b", RemoteProxy(**told.model_dump(), pending=4), proxy("front-2")), 0.0)
        assert foreign.proxies([own]) == (here, status("front-2"))
    assert foreign.rejections() == {("front", "front-2"): ""}


def test_a_peer_that_is_lost_is_no_longer_shown() -> None:
    foreign = RemoteState()
    foreign.update(part("b", proxy("front-2", error="no")), 0.0)
    assert [one.name for one in foreign.proxies([status("front-1")])] == ["front-1", "front-2"]
    foreign.remove("b")
    assert foreign.proxies([status("front-1")]) == (status("front-1"),)


def test_reports_grow_old_at_the_readers_clock() -> None:
    foreign = RemoteState()
    told = part("b", reports=True)
    told.reports = through(f"R{age} {one.model_dump_json()}" for age, one in [
        (1.0, report("front-1", 10)), (2.0, report("front-2")),
    ]).reports  # fmt: skip
    foreign.update(told, 100.0)
    own = [(0.5, report("front-1", 20)), (1.0, report("front-3"))]
    found = foreign.reports(own, 100.0)
    assert [(one.node, one.memory) for one in found] == [("front-1", 20), ("front-3", 1), ("front-2", 1)]
    assert [one.node for one in foreign.reports([], 104.5)] == ["front-1"]
    foreign.update(part("b"), 104.5)
    assert [one.node for one in foreign.reports([], 104.6)] == ["front-1"]


def test_deliveries_are_sums() -> None:
    foreign = RemoteState()
    told = part("b", deliveries=True)
    told.deliveries = through(wire.write_deliveries({"Retry/a": RolloutCount(3, 2, ("no",))})).deliveries
    foreign.update(told, 0.0)
    own = {"Retry/a": RolloutCount(1, 1), "Retry/b": RolloutCount(1, 0, ("why",))}
    assert foreign.rollouts(own) == {
        "Retry/a": RolloutCount(4, 3, ("no",)), "Retry/b": RolloutCount(1, 0, ("why",)),
    }  # fmt: skip
