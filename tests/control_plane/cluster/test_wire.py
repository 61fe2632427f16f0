"""What control planes report to each other arrives complete, once, and with ages by the reader's clock."""

from __future__ import annotations

import math

import pytest

from meshwright.control_plane.api.models.proxies import ClusterReport, ProxyReport, ProxyState, ProxyStatus
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.cluster import cluster_pb2 as pb
from meshwright.control_plane.cluster import wire
from meshwright.control_plane.cluster.remote_state import RemoteState
from meshwright.control_plane.cluster.wire import PeerState, RemoteProxy, WireError
from meshwright.control_plane.status.acks import AckCount
from meshwright.control_plane.telemetry.ingest.envoy_stats import StatPoint
from meshwright.control_plane.telemetry.topology.counters import UpstreamCounters
from meshwright.control_plane.telemetry.topology.flush import MetricsFlush, NodeFlush
from meshwright.control_plane.telemetry.topology.replication_log import ENTRY_TTL, READER_TTL, ReplicationLog
from meshwright.control_plane.telemetry.topology.windows import TrafficWindows
from tests.control_plane.telemetry.metric_exports import Stats, metrics_export

FRONT = Identity("mesh.local", "service", "front")


def status(name: str, state: ProxyState = "synced", revision: int = 3, error: str = "") -> ProxyStatus:
    return ProxyStatus(name=name, service="front", state=state, revision=revision, error=error)


def report(node: str, memory: int = 1) -> ProxyReport:
    cluster = ClusterReport(cluster="back", hosts=2, ejected=1, ejected_addresses=("10.0.0.1:80",))
    return ProxyReport(node=node, service="front", memory=memory, clusters=(cluster,))


def transmit(message: pb.StateReport) -> PeerState:
    """The report as a peer reads it."""
    steps = wire.parse_state(pb.StateReport.FromString(message.SerializeToString()), "mesh.local")
    while True:
        try:
            next(steps)
        except StopIteration as end:
            assert isinstance(end.value, PeerState)
            return end.value


def flushes_of(message: pb.StateReport) -> list[tuple[float, NodeFlush]]:
    flushes = transmit(message).flushes
    assert flushes is not None
    return flushes


def test_flush_arrives_complete() -> None:
    counters = UpstreamCounters(
        completed=5,
        failed=1,
        refused=2,
        local=3,
        retries=2,
        delayed_buckets={(1.0, 2.0): 1.0},
        latency_buckets={(0.0, 0.5): 3.0, (10.0, math.inf): 2.0},
    )
    sent = NodeFlush(
        FRONT,
        "front-1",
        MetricsFlush(
            {"back/v2": counters},
            UpstreamCounters(completed=7),
            [StatPoint("back", "membership_total", 2.0, 77)],
            2.0,
            77,
            {"http": True, "grpc": False},
        ),
    )
    message = pb.StateReport()
    wire.write_flush(message.flushes.flushes.add(), 1.25, sent)
    ((age, received),) = flushes_of(message)
    assert age == 1.25
    assert (received.identity, received.node, received.flush.clusters, received.flush.inbound) == (
        FRONT, "front-1", {"back/v2": counters}, UpstreamCounters(completed=7),
    )  # fmt: skip
    assert [(gauge.cluster, gauge.stat, gauge.value) for gauge in received.flush.gauges] == [
        ("back", "membership_total", 2.0)
    ]
    assert (received.flush.seconds, received.flush.end_ns) == (2.0, 77)
    assert received.flush.listens == {"http": True, "grpc": False}


def test_list_that_was_not_requested_is_none() -> None:
    state = transmit(pb.StateReport(member_id="b", problems=["disk full"]))
    assert (state.member_id, state.problems, state.proxies) == ("b", ("disk full",), [])
    assert (state.reports, state.ack_counts, state.flushes) == (None, None, None)


def test_empty_list_is_not_none() -> None:
    message = pb.StateReport(reports=pb.ProxyReports(), ack_counts=pb.AckCounts(), flushes=pb.FlushPage())
    state = transmit(message)
    assert (state.reports, state.ack_counts, state.flushes) == ([], {}, [])


def flush(**fields: object) -> pb.StateReport:
    values = {"role": "service", "service": "x", "node": "x-1", "seconds": 2.0, **fields}
    return pb.StateReport(flushes=pb.FlushPage(flushes=[pb.Flush(**values)]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "message",
    [
        pb.StateReport(proxies=[pb.Proxy()]),
        pb.StateReport(proxies=[pb.Proxy(status_json=b"{}")]),
        pb.StateReport(reports=pb.ProxyReports(reports=[pb.AgedReport(age=1.0)])),
        pb.StateReport(reports=pb.ProxyReports(reports=[pb.AgedReport(report_json=b"[]")])),
        pb.StateReport(
            reports=pb.ProxyReports(
                reports=[pb.AgedReport(age=math.nan, report_json=report("x").model_dump_json().encode())]
            )
        ),
        flush(age=-1.0),
        flush(role="control-plane"),
        flush(role=""),
        flush(seconds=math.inf),
        flush(inbound=pb.Counters(completed=-1)),
        flush(clusters={"b": pb.Counters(completed=math.inf)}),
        flush(clusters={"b": pb.Counters(latency_buckets=[pb.LatencyBucket(low=1, high=2, count=math.nan)])}),
        flush(gauges=[pb.Gauge(cluster="b", stat="membership_total", value=-2)]),
    ],
)
def test_invalid_contents_are_an_error(message: pb.StateReport) -> None:
    with pytest.raises(WireError):
        transmit(message)


# --- flushes of peers ---------------------------------------------------------------------------------


def receive(windows: TrafficWindows, count: int, now: float, node: str = "front-1") -> None:
    latencies = (0, 0, count, 0, 0, 0, 0, 0, 0)
    stats: dict[str, Stats] = {"back": {"upstream_rq_completed": count, "upstream_rq_time": latencies}}
    for _ in windows.handle(FRONT, metrics_export("front", node, stats, at=now), now):
        pass


def replicate(source: TrafficWindows, target: TrafficWindows, since: int, clocks: tuple[float, float]) -> int:
    """Does what a poll does, at these two clocks. Returns the new sequence number."""
    here, there = clocks
    for entry in source.replication_log.since(since, here):
        message = pb.StateReport()
        wire.write_flush(message.flushes.flushes.add(), here - entry.received_at, entry.item)
        ((age, received),) = flushes_of(message)
        for _ in target.ingest(received, there - age):
            pass
    return source.replication_log.last_sequence


def edges(windows: TrafficWindows, now: float) -> dict[str, tuple[float, float]]:
    return {sample.cluster: (sample.counters.completed, sample.seconds) for sample in windows.samples(now)}


def test_flush_of_one_member_is_seen_by_its_reader_and_goes_no_further() -> None:
    first, second, third = TrafficWindows(), TrafficWindows(), TrafficWindows()
    logs = [
        first.replication_log.since(0, 10.0),
        second.replication_log.since(0, 5010.0),
        third.replication_log.since(0, 0.1),
    ]
    assert logs == [[], [], []]
    sequence = 0
    for tick in range(4):
        receive(first, 10, 11.0 + 2 * tick)
        sequence = replicate(first, second, sequence, (12.0 + 2 * tick, 5012.0 + 2 * tick))
    assert edges(first, 18.0) == edges(second, 5018.0)
    assert edges(first, 18.0)["back"][0] == 40
    assert second.replication_log.last_sequence == 0
    assert replicate(second, third, 0, (5018.0, 18.0)) == 0
    assert edges(third, 18.0) == {}


def test_sidecar_moves_to_a_peer_is_counted_once() -> None:
    first, second = TrafficWindows(), TrafficWindows()
    first.replication_log.since(0, 10.0)
    second.replication_log.since(0, 10.0)
    receive(first, 10, 11.0)
    receive(second, 7, 13.0)
    replicate(first, second, 0, (14.0, 14.0))
    replicate(second, first, 0, (14.0, 14.0))
    assert edges(first, 14.0)["back"][0] == edges(second, 14.0)["back"][0] == 17
    for windows in (first, second):
        ((_, series),) = windows.history.edges("front")
        assert sum(row["completed"] for _, row in series.points(15.0)) == 17


def test_grpc_calls_are_counted_as_grpc_by_the_reader() -> None:
    first, second = TrafficWindows(), TrafficWindows()
    first.replication_log.since(0, 10.0)
    stats: dict[str, Stats] = {"back": {"upstream_rq_completed": 9, "grpc.0": 5, "grpc.14": 4}}
    for _ in first.handle(FRONT, metrics_export("front", "front-1", stats), 11.0):
        pass
    replicate(first, second, 0, (12.0, 12.0))
    (sample,) = second.samples(12.0)
    assert (sample.counters.completed, sample.counters.failed) == (9, 4)


def test_replication_log_is_written_while_somebody_reads() -> None:
    log: ReplicationLog[str] = ReplicationLog()
    log.append("in the first minute", 1.0)
    assert [entry.item for entry in log.since(0, 2.0)] == ["in the first minute"]
    late = 3.0 + READER_TTL
    log.append("nobody reads any more", late)
    assert (log.since(0, late), log.last_sequence) == ([], 1)
    log.append("a", late)
    log.append("b", late + 1)
    assert [entry.item for entry in log.since(1, late + 2)] == ["a", "b"]
    assert [entry.item for entry in log.since(2, late + 2)] == ["b"]
    assert log.since(3, late + ENTRY_TTL - 1) == []
    log.append("c", late + ENTRY_TTL)
    assert [(entry.sequence, entry.item) for entry in log.since(0, late + ENTRY_TTL)] == [(3, "b"), (4, "c")]


# --- merging ------------------------------------------------------------------------------------------


def peer(*proxies: ProxyStatus, in_flight: int = 0) -> PeerState:
    return PeerState("b", proxies=[RemoteProxy(status, in_flight) for status in proxies])


def test_proxy_known_to_two_members_the_connected_stream_wins() -> None:
    gone, here = status("front-1", "disconnected", 9), status("front-1", "pending", 2)
    for local, remote in ((gone, here), (here, gone)):
        state = RemoteState()
        state.update(peer(remote, status("front-2"), in_flight=4), 0.0)
        assert state.proxies([local]) == (here, status("front-2"))
    assert state.rejection_texts() == {("front", "front-2"): ""}


def test_peer_is_lost_its_proxies_are_no_longer_shown() -> None:
    state = RemoteState()
    state.update(peer(status("front-2", error="no")), 0.0)
    assert [proxy.name for proxy in state.proxies([status("front-1")])] == ["front-1", "front-2"]
    state.remove("b")
    assert state.proxies([status("front-1")]) == (status("front-1"),)


def test_reports_age_by_the_readers_clock() -> None:
    state = RemoteState()
    reports = [
        wire.report_to_proto(age, sent)
        for age, sent in ((1.0, report("front-1", 10)), (2.0, report("front-2")))
    ]
    state.update(transmit(pb.StateReport(member_id="b", reports=pb.ProxyReports(reports=reports))), 100.0)
    local = [(0.5, report("front-1", 20)), (1.0, report("front-3"))]
    merged = state.reports(local, 100.0)
    assert [(report.node, report.memory) for report in merged] == [
        ("front-1", 20),
        ("front-3", 1),
        ("front-2", 1),
    ]
    assert [report.node for report in state.reports([], 104.5)] == ["front-1"]
    state.update(peer(), 104.5)
    assert [report.node for report in state.reports([], 104.6)] == ["front-1"]


def test_ack_counts_are_sums() -> None:
    state = RemoteState()
    ack_counts = wire.ack_counts_to_proto({"Retry/a": AckCount(3, 2, ("no",))})
    state.update(transmit(pb.StateReport(member_id="b", ack_counts=ack_counts)), 0.0)
    local = {"Retry/a": AckCount(1, 1), "Retry/b": AckCount(1, 0, ("why",))}
    assert state.ack_counts(local) == {
        "Retry/a": AckCount(4, 3, ("no",)), "Retry/b": AckCount(1, 0, ("why",)),
    }  # fmt: skip
