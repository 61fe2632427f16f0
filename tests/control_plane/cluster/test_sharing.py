"""A poll takes a peer's part over once, wherever it is broken off."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from meshwright.control_plane.agents.reports import ProxyReports
from meshwright.control_plane.api.models.proxies import ProxyReport, ProxyStatus
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.cluster import wire
from meshwright.control_plane.cluster.connection import PeerError
from meshwright.control_plane.cluster.members import Members
from meshwright.control_plane.cluster.sync import STATE_METHOD, LocalState, StateSync
from meshwright.control_plane.errors import InputError, NotFoundError
from meshwright.control_plane.status.conditions import RolloutCount
from meshwright.control_plane.telemetry.topology.windows import TrafficWindows
from meshwright.control_plane.tls import TlsCredentials
from tests.control_plane.cluster.planes import FakeAnnouncementStore
from tests.control_plane.telemetry.otlp import metrics_export

FRONT = Identity("mesh.local", "service", "front")


class Streams:
    """The proxies of one control plane; `state` None: it has none."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state: ProxyStatus | None = ProxyStatus(name=name, service="front", state="synced", revision=1)

    def proxies(self) -> tuple[ProxyStatus, ...]:
        return (self.state,) if self.state else ()

    def in_flight(self) -> dict[tuple[str, str], int]:
        return {("front", self.name): 2}

    def rejection_texts(self) -> dict[tuple[str, str], str]:
        return {("front", self.name): ""} if self.state and self.state.state != "disconnected" else {}

    def rollout_counts(self) -> Mapping[str, RolloutCount]:
        return {"Retry/a": RolloutCount(1, 1)}


class Plane:
    """One control plane with a clock of its own."""

    def __init__(self, name: str, ahead: float) -> None:
        self.ahead, self.time, self.pauses, self.breaks = ahead, 100.0, 0, 0
        self.streams, self.reports, self.flows = Streams(name), ProxyReports(), TrafficWindows()
        self.peers = Members(FakeAnnouncementStore(), lambda: TlsCredentials(b"", b"", b""), "mesh.local")
        own = LocalState(self.streams, self.reports, self.flows, lambda: (f"{name} is troubled", "both are"))
        self.sharing = StateSync(own, self.peers, "mesh.local", self.now, self.pause)
        self.peers.is_first = True

    def now(self) -> float:
        return self.time + self.ahead

    async def pause(self, _seconds: float) -> None:
        self.pauses += 1
        if self.breaks and self.pauses >= self.breaks:
            self.breaks = 0
            raise asyncio.CancelledError

    def take(self, count: int, node: str = "front-1") -> None:
        """A flush of one of its sidecars."""
        body = metrics_export("front", node, {"back": {"upstream_rq_completed": count}}, at=self.time)
        for _ in self.flows.handle(FRONT, body, self.now()):
            pass

    def counted(self) -> float:
        return sum(one.counters.completed for one in self.flows.samples(self.now()))

    async def poll(self, other: Plane) -> None:
        """What a poll of another one does."""

        async def ask(method: str, request: bytes) -> bytes:
            try:
                return await other.peers._answers[method](request)
            except NotFoundError as error:
                raise PeerError("not_found", str(error)) from None

        await self.peers.on_poll(other.peers.id, ask)

    def remembered(self) -> float:
        """What the history of the edge holds."""
        now = self.now()
        return sum(
            row["answered"] for _, one in self.flows.history.edges("front") for _, row in one.points(now)
        )


@pytest.fixture
async def pair() -> tuple[Plane, Plane]:
    """Two that have polled each other once."""
    made = Plane("front-1", 0.0), Plane("front-2", 5000.0)
    await made[0].poll(made[1])
    await made[1].poll(made[0])
    return made


@pytest.mark.parametrize("breaks", range(1, 8))
async def test_a_poll_that_is_broken_off_goes_on_where_it_was(pair: tuple[Plane, Plane], breaks: int) -> None:
    here, there = pair
    for number in range(5):
        there.take(10**number)
    here.pauses, here.breaks = 0, breaks
    try:
        await here.poll(there)
    except asyncio.CancelledError:
        assert here.counted() < 11_111 or breaks > 4
    await here.poll(there)
    await there.poll(here)
    assert here.counted() == there.counted() == 11_111


async def test_more_than_one_answer_holds_comes_in_several(
    pair: tuple[Plane, Plane], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "FLUSHES_SIZE", 200)
    here, there = pair
    for _ in range(9):
        there.take(7)
    await here.poll(there)
    assert here.counted() == 63


async def test_the_whole_is_the_same_at_both(pair: tuple[Plane, Plane]) -> None:
    here, there = pair
    for each, node in ((here, "front-1"), (there, "front-2")):
        each.reports.record(FRONT, ProxyReport(node=node, service="front"), each.now())
    await here.poll(there)
    await there.poll(here)
    for each in pair:
        assert [one.name for one in each.sharing.proxies()] == ["front-1", "front-2"]
        assert each.sharing.pending() == {("front", "front-1"): 2, ("front", "front-2"): 2}
        assert {one.node for one in each.sharing.reports()} == {"front-1", "front-2"}
        each.time += 7
        assert each.sharing.reports() == ()
    assert here.sharing.problems() == ("front-1 is troubled", "both are", "front-2 is troubled")


async def test_one_that_starts_anew_takes_over_the_histories_and_no_flush_twice(
    pair: tuple[Plane, Plane],
) -> None:
    here, there = pair
    for plane, count in ((here, 1000), (there, 100)):
        plane.take(count)
    await here.poll(there)
    for plane in pair:
        plane.time += 300
    await here.poll(there)
    await there.poll(here)
    here.take(10)
    await there.poll(here)
    there.take(20, "front-2")
    fresh = Plane("front-3", 90_000.0)
    fresh.peers.is_first, fresh.time = False, 400.0
    fresh.take(1, "front-3")
    await here.poll(fresh)
    assert (here.remembered(), here.counted()) == (1110, 10)
    await fresh.poll(here)
    await fresh.poll(there)
    await here.poll(there)
    for plane in pair:
        await plane.poll(fresh)
    await there.poll(here)
    for plane in (*pair, fresh):
        assert (plane.remembered(), plane.counted()) == (1131, 31)
    course = fresh.flows.history.service("back")
    assert course is not None
    for series in (course.fine, course.coarse):
        assert sum(row["answered"] for _, row in series.points(fresh.now())) == 1131
    assert [round(row["answered"]) for _, row in course.coarse.points(fresh.now())][-20] == 1100


async def test_two_that_are_new_at_once_ask_each_other_and_go_on() -> None:
    here, there = Plane("front-1", 0.0), Plane("front-2", 50.0)
    for plane in (here, there):
        plane.peers.is_first = False
        plane.take(5)
    await here.poll(there)
    await there.poll(here)
    await here.poll(there)
    await there.poll(here)
    assert [plane.remembered() for plane in (here, there)] == [10, 10]


async def test_a_past_that_cannot_be_had_is_asked_for_a_few_times() -> None:
    here, there = Plane("front-1", 0.0), Plane("front-2", 50.0)
    here.peers.is_first = False

    async def garbage(_request: bytes) -> bytes:
        return b"no past"

    there.peers.register_method("Past", garbage)
    there.take(5)
    for expected in (0, 0, 5):
        await here.poll(there)
        assert here.remembered() == expected


async def test_a_proxy_that_moves_to_a_peer_is_not_missed_here(pair: tuple[Plane, Plane]) -> None:
    here, there = pair
    assert here.streams.state is not None
    assert set(here.sharing.rejections()) == {("front", "front-1")}
    there.streams.state = here.streams.state
    here.streams.state = here.streams.state.model_copy(update={"state": "disconnected"})
    await here.poll(there)
    for gone in (here.streams.state, None):
        here.streams.state = gone
        assert set(here.sharing.rejections()) == {("front", "front-1")}
    there.streams.state = None
    await here.poll(there)
    assert here.sharing.rejections() == {}


async def test_answers_that_are_none_are_a_peers_trouble(pair: tuple[Plane, Plane]) -> None:
    here, _ = pair

    async def garbage(_method: str, _request: bytes) -> bytes:
        return b"no part"

    with pytest.raises(PeerError, match="cannot be read"):
        await here.peers.on_poll("x", garbage)
    with pytest.raises(InputError):
        await here.peers._answers[STATE_METHOD](b"no question")
