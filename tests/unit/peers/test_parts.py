"""What control planes tell each other comes through whole, once, and in time by the reader's clock."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from control_plane.api.spiffe import Identity
from control_plane.api.types import ClusterReport, ProxyReport, ProxyState, ProxyStatus
from control_plane.core.conditions import Delivery
from control_plane.peers import parts
from control_plane.peers.foreign import Foreign
from control_plane.peers.parts import Head, Part, PartError, PeerProxy
from control_plane.telemetry.counts import Counts
from control_plane.telemetry.decode import Point
from control_plane.telemetry.flows import Flows, Flush, Handed
from control_plane.telemetry.journal import LIFE, WANTED, Journal
from tests.unit.telemetry.otlp import Stats, flush

FRONT = Identity("mesh.local", "service", "front")


def proxy(name: str, state: ProxyState = "synced", revision: int = 3, error: str = "") -> PeerProxy:
    return PeerProxy(name=name, service="front", state=state, revision=revision, error=error)


def status(name: str, state: ProxyState = "synced", revision: int = 3) -> ProxyStatus:
    return ProxyStatus(name=name, service="front", state=state, revision=revision)


def report(node: str, memory: int = 1) -> ProxyReport:
    cluster = ClusterReport(cluster="back", hosts=2, ejected=1, addresses=("10.0.0.1:80",))
    return ProxyReport(node=node, service="front", memory=memory, clusters=(cluster,))


def through(lines: Iterator[str] | list[str]) -> Part:
    part, read = parts.begin("\n".join(["H" + Head(id="b").model_dump_json(), *lines]).encode())
    for line in read:
        parts.take(part, line, "mesh.local")
    return part


def test_a_flush_comes_through_whole() -> None:
    counts = Counts(answered=5, failed=1, retries=2, spread={(0.0, 0.5): 3.0, (10.0, math.inf): 2.0})
    told = Handed(
        FRONT,
        "front-1",
        Flush({"back/v2": counts}, Counts(answered=7), [Point("back", "membership_total", 2.0, 77)], 2.0, 77),
    )
    ((age, read),) = through([parts.write_flush(1.25, told)]).flushes
    assert age == 1.25
    assert (read.identity, read.node, read.flush.counts, read.flush.inbound) == (
        FRONT, "front-1", {"back/v2": counts}, Counts(answered=7),
    )  # fmt: skip
    assert [(one.cluster, one.stat, one.value) for one in read.flush.gauges] == [
        ("back", "membership_total", 2.0)
    ]
    assert (read.flush.seconds, read.flush.end) == (2.0, 77)


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
    with pytest.raises(PartError):
        through([line])
    with pytest.raises(PartError):
        parts.begin(line.encode())


def fold(flows: Flows, count: int, now: float, node: str = "front-1") -> None:
    spread = (0, 0, count, 0, 0, 0, 0, 0, 0)
    stats: dict[str, Stats] = {"back": {"upstream_rq_completed": count, "upstream_rq_time": spread}}
    body = flush("front", node, stats, at=now)
    for _ in flows.take(FRONT, body, now):
        pass


def hand_on(one: Flows, other: Flows, since: int, ages: tuple[float, float]) -> int:
    """As a poll does; clocks of both given. The new mark."""
    here, there = ages
    for entry in one.journal.since(since, here):
        ((age, told),) = through([parts.write_flush(here - entry.came, entry.what)]).flushes
        for _ in other.keep(told, there - age):
            pass
    return one.journal.last


def edges(flows: Flows, now: float) -> dict[str, tuple[float, float]]:
    return {seen.cluster: (seen.counts.answered, seen.seconds) for seen in flows.seen(now)}


def test_what_came_to_one_is_seen_at_all_and_goes_no_further() -> None:
    first, second, third = Flows(), Flows(), Flows()
    marks = [first.journal.since(0, 10.0), second.journal.since(0, 5010.0), third.journal.since(0, 0.1)]
    assert marks == [[], [], []]
    mark = 0
    for tick in range(4):
        fold(first, 10, 11.0 + 2 * tick)
        mark = hand_on(first, second, mark, (12.0 + 2 * tick, 5012.0 + 2 * tick))
    assert edges(first, 18.0) == edges(second, 5018.0)
    assert edges(first, 18.0)["back"][0] == 40
    assert second.journal.last == 0
    assert hand_on(second, third, 0, (5018.0, 18.0)) == 0
    assert edges(third, 18.0) == {}


def test_a_sidecar_that_moves_is_counted_once() -> None:
    first, second = Flows(), Flows()
    first.journal.since(0, 10.0)
    second.journal.since(0, 10.0)
    fold(first, 10, 11.0)
    fold(second, 7, 13.0)
    hand_on(first, second, 0, (14.0, 14.0))
    hand_on(second, first, 0, (14.0, 14.0))
    assert edges(first, 14.0)["back"][0] == edges(second, 14.0)["back"][0] == 17
    assert [sum(row["answered"] for _, row in series.points(15.0)) for flows in (first, second)
            for _, series in flows.courses.edges("front")] == [17, 17]  # fmt: skip


def test_calls_judged_as_grpc_stay_so() -> None:
    first, second = Flows(), Flows()
    first.journal.since(0, 10.0)
    body = flush("front", "front-1", {"back": {"upstream_rq_completed": 9, "grpc.0": 5, "grpc.14": 4}})
    for _ in first.take(FRONT, body, 11.0):
        pass
    hand_on(first, second, 0, (12.0, 12.0))
    (seen,) = second.seen(12.0)
    assert (seen.counts.answered, seen.counts.failed) == (9, 4)


def test_a_journal_is_kept_while_somebody_asks() -> None:
    journal: Journal[str] = Journal()
    journal.note("in the first minute", 1.0)
    assert [one.what for one in journal.since(0, 2.0)] == ["in the first minute"]
    late = 3.0 + WANTED
    journal.note("nobody asks any more", late)
    assert (journal.since(0, late), journal.last) == ([], 1)
    journal.note("a", late)
    journal.note("b", late + 1)
    assert [one.what for one in journal.since(1, late + 2)] == ["a", "b"]
    assert [one.what for one in journal.since(2, late + 2)] == ["b"]
    assert journal.since(3, late + LIFE - 1) == []
    journal.note("c", late + LIFE)
    assert [(one.number, one.what) for one in journal.since(0, late + LIFE)] == [(3, "b"), (4, "c")]


def part(id: str, *proxies: PeerProxy, **head: bool) -> Part:
    return Part(Head(id=id, **head), list(proxies))


def test_of_two_that_know_a_proxy_the_connected_one_counts_everywhere() -> None:
    gone, here = status("front-1", "disconnected", 9), status("front-1", "pending", 2)
    for own, told in ((gone, here), (here, gone)):
        foreign = Foreign()
        foreign.take(part("b", PeerProxy(**told.model_dump(), pending=4), proxy("front-2")), 0.0)
        assert foreign.proxies([own]) == (here, status("front-2"))
    assert foreign.refusals() == {("front", "front-2"): ""}


def test_a_peer_that_is_lost_is_no_longer_shown() -> None:
    foreign = Foreign()
    foreign.take(part("b", proxy("front-2", error="no")), 0.0)
    assert [one.name for one in foreign.proxies([status("front-1")])] == ["front-1", "front-2"]
    foreign.lose("b")
    assert foreign.proxies([status("front-1")]) == (status("front-1"),)


def test_reports_grow_old_at_the_readers_clock() -> None:
    foreign = Foreign()
    told = part("b", reports=True)
    told.reports = through(f"R{age} {one.model_dump_json()}" for age, one in [
        (1.0, report("front-1", 10)), (2.0, report("front-2")),
    ]).reports  # fmt: skip
    foreign.take(told, 100.0)
    own = [(0.5, report("front-1", 20)), (1.0, report("front-3"))]
    found = foreign.reports(own, 100.0)
    assert [(one.node, one.memory) for one in found] == [("front-1", 20), ("front-3", 1), ("front-2", 1)]
    assert [one.node for one in foreign.reports([], 104.5)] == ["front-1"]
    foreign.take(part("b"), 104.5)
    assert [one.node for one in foreign.reports([], 104.6)] == ["front-1"]


def test_deliveries_are_sums() -> None:
    foreign = Foreign()
    told = part("b", deliveries=True)
    told.deliveries = through(parts.write_deliveries({"Retry/a": Delivery(3, 2, ("no",))})).deliveries
    foreign.take(told, 0.0)
    own = {"Retry/a": Delivery(1, 1), "Retry/b": Delivery(1, 0, ("why",))}
    assert foreign.deliveries(own) == {
        "Retry/a": Delivery(4, 3, ("no",)), "Retry/b": Delivery(1, 0, ("why",)),
    }  # fmt: skip
