"""A poll applies each part of a peer's state once, wherever it is cancelled."""

from __future__ import annotations

import asyncio

import pytest

from meshwright.control_plane.agents.reports import ProxyReports
from meshwright.control_plane.api.models.proxies import ProxyReport, ProxyStatus
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.cluster import sync
from meshwright.control_plane.cluster.methods import GET_HISTORY, GET_STATE
from meshwright.control_plane.cluster.peer_client import PeerError
from meshwright.control_plane.cluster.sync import LocalState, StateSync
from meshwright.control_plane.core.resource import Resource
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.status.acks import AckCount, ProxyHoldings
from meshwright.control_plane.telemetry.topology.windows import TrafficWindows
from tests.control_plane.telemetry.metric_exports import metrics_export
from tests.fakes.members import FakeMembers

FRONT = Identity("mesh.local", "service", "front")


class Proxies:
    """The proxies of one control plane; `status` None: it has none."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.status: ProxyStatus | None = ProxyStatus(name=name, service="front", state="synced", revision=1)

    def proxies(self) -> tuple[ProxyStatus, ...]:
        return (self.status,) if self.status else ()

    def in_flight(self) -> dict[tuple[str, str], int]:
        return {("front", self.name): 2}

    def rejection_texts(self) -> dict[tuple[str, str], str]:
        return {("front", self.name): ""} if self.status and self.status.state != "disconnected" else {}

    def resource_states(self) -> list[ProxyHoldings]:
        return [[(Resource("type", "back", "1", b"", policies=("Retry/a",)), True, "")]]


class ControlPlane:
    """One control plane with a clock of its own, `ahead` seconds ahead."""

    def __init__(self, name: str, ahead: float) -> None:
        self.ahead, self.time, self.sleeps, self.cancel_at = ahead, 100.0, 0, 0
        self.proxies, self.reports, self.windows = Proxies(name), ProxyReports(), TrafficWindows()
        self.members = FakeMembers(name)
        local = LocalState(
            self.proxies, self.reports, self.windows, lambda: (f"{name} has a problem", "both have one")
        )
        self.sync = StateSync(local, self.members, "mesh.local", self.now, self.sleep)

    def now(self) -> float:
        return self.time + self.ahead

    async def sleep(self, _seconds: float) -> None:
        self.sleeps += 1
        if self.cancel_at and self.sleeps >= self.cancel_at:
            self.cancel_at = 0
            raise asyncio.CancelledError

    def receive(self, requests: int, node: str = "front-1") -> None:
        """A flush of one of its sidecars."""
        body = metrics_export("front", node, {"back": {"upstream_rq_completed": requests}}, at=self.time)
        for _ in self.windows.handle(FRONT, body, self.now()):
            pass

    def counted(self) -> float:
        return sum(sample.counters.completed for sample in self.windows.samples(self.now()))

    async def poll(self, other: ControlPlane) -> None:
        if other.members not in self.members.peers:
            self.members.peers.append(other.members)
        await self.members.on_poll(other.members.id)

    def recorded(self) -> float:
        """Requests in the edge's history."""
        now = self.now()
        return sum(
            row["completed"]
            for _, series in self.windows.history.edges("front")
            for _, row in series.points(now)
        )


@pytest.fixture
async def pair() -> tuple[ControlPlane, ControlPlane]:
    """Two that have polled each other once."""
    here, there = ControlPlane("front-1", 0.0), ControlPlane("front-2", 5000.0)
    await here.poll(there)
    await there.poll(here)
    return here, there


@pytest.mark.parametrize("cancel_at", range(1, 8))
async def test_poll_cancelled_continues_where_it_stopped(
    pair: tuple[ControlPlane, ControlPlane], cancel_at: int
) -> None:
    here, there = pair
    for exponent in range(5):
        there.receive(10**exponent)
    here.sleeps, here.cancel_at = 0, cancel_at
    try:
        await here.poll(there)
    except asyncio.CancelledError:
        assert here.counted() < 11_111 or cancel_at > 4
    await here.poll(there)
    await there.poll(here)
    assert here.counted() == there.counted() == 11_111


async def test_poll_more_flushes_than_a_response_holds_reads_several_pages(
    pair: tuple[ControlPlane, ControlPlane], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "MAX_FLUSH_BYTES", 100)
    here, there = pair
    calls = len(here.members.timeouts)
    for _ in range(9):
        there.receive(7)
    await here.poll(there)
    assert here.counted() == 63
    assert len(here.members.timeouts) - calls > 2


async def test_state_of_the_mesh_is_the_same_at_both(pair: tuple[ControlPlane, ControlPlane]) -> None:
    here, there = pair
    for plane, node in ((here, "front-1"), (there, "front-2")):
        plane.reports.record(FRONT, ProxyReport(node=node, service="front"), plane.now())
    await here.poll(there)
    await there.poll(here)
    for plane in pair:
        assert [proxy.name for proxy in plane.sync.proxies()] == ["front-1", "front-2"]
        assert plane.sync.in_flight() == {("front", "front-1"): 2, ("front", "front-2"): 2}
        assert {report.node for report in plane.sync.reports()} == {"front-1", "front-2"}
        assert await plane.sync.ack_counts() == {"Retry/a": AckCount(2, 2)}
        plane.time += 7
        assert plane.sync.reports() == ()
    only_one = [f"{id} has a problem (at {id}:15012)" for id in ("front-1", "front-2")]
    assert here.sync.problems() == (only_one[0], "both have one", only_one[1])


async def test_new_control_plane_takes_over_the_history_and_no_flush_twice(
    pair: tuple[ControlPlane, ControlPlane],
) -> None:
    here, there = pair
    for plane, requests in ((here, 1000), (there, 100)):
        plane.receive(requests)
    await here.poll(there)
    for plane in pair:
        plane.time += 300
    await here.poll(there)
    await there.poll(here)
    here.receive(10)
    await there.poll(here)
    there.receive(20, "front-2")
    fresh = ControlPlane("front-3", 90_000.0)
    fresh.members.is_first, fresh.time = False, 400.0
    fresh.receive(1, "front-3")
    await here.poll(fresh)
    assert (here.recorded(), here.counted()) == (1110, 10)
    await fresh.poll(here)
    await fresh.poll(there)
    await here.poll(there)
    for plane in pair:
        await plane.poll(fresh)
    await there.poll(here)
    for plane in (*pair, fresh):
        assert (plane.recorded(), plane.counted()) == (1131, 31)
    history = fresh.windows.history.service("back")
    assert history is not None
    for series in (history.fine, history.coarse):
        assert sum(row["completed"] for _, row in series.points(fresh.now())) == 1131
    assert [round(row["completed"]) for _, row in history.coarse.points(fresh.now())][-20] == 1100


async def test_two_new_control_planes_start_without_history() -> None:
    here, there = ControlPlane("front-1", 0.0), ControlPlane("front-2", 50.0)
    for plane in (here, there):
        plane.members.is_first = False
        plane.receive(5)
    await here.poll(there)
    await there.poll(here)
    await here.poll(there)
    await there.poll(here)
    assert [plane.recorded() for plane in (here, there)] == [10, 10]


async def test_history_unreadable_is_requested_a_few_times() -> None:
    here, there = ControlPlane("front-1", 0.0), ControlPlane("front-2", 50.0)
    here.members.is_first = False
    there.members.bodies[GET_HISTORY.name] = b"no history"
    there.receive(5)
    for expected in (0, 0, 5):
        await here.poll(there)
        assert here.recorded() == expected


async def test_proxy_moves_to_a_peer_is_not_reported_as_disconnected(
    pair: tuple[ControlPlane, ControlPlane],
) -> None:
    here, there = pair
    assert here.proxies.status is not None
    assert set(here.sync.rejection_texts()) == {("front", "front-1")}
    there.proxies.status = here.proxies.status
    here.proxies.status = here.proxies.status.model_copy(update={"state": "disconnected"})
    await here.poll(there)
    for status in (here.proxies.status, None):
        here.proxies.status = status
        assert set(here.sync.rejection_texts()) == {("front", "front-1")}
    there.proxies.status = None
    await here.poll(there)
    assert here.sync.rejection_texts() == {}


@pytest.mark.parametrize("body", [b"not protobuf", b"\x1a\x00"], ids=["no message", "a proxy without status"])
async def test_state_unreadable_is_an_error_of_the_peer(
    pair: tuple[ControlPlane, ControlPlane], body: bytes
) -> None:
    here, there = pair
    there.members.bodies[GET_STATE.name] = body
    with pytest.raises(PeerError) as error:
        await here.poll(there)
    assert error.value.reason == "unreadable"


async def test_request_unreadable_is_rejected(pair: tuple[ControlPlane, ControlPlane]) -> None:
    with pytest.raises(InputError):
        await pair[0].members.respond(GET_STATE.name, b"no request")
