"""Control planes find and call each other; one that is gone costs its peers time and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import grpc
import pytest

from meshwright.control_plane.cluster import cluster_pb2 as pb
from meshwright.control_plane.cluster import members, metrics
from meshwright.control_plane.cluster.methods import SERVICE, Method
from meshwright.control_plane.cluster.service import MAX_REQUEST_BYTES, MEMBER_ID_HEADER
from meshwright.control_plane.errors import NotFoundError
from tests.control_plane.cluster.running_members import FakeAnnouncementStore, RunningMember, running_member
from tests.envoy.xds_lab import PATIENCE, until
from tests.fakes.pki import DOMAIN, Pki

ECHO = Method("Echo", pb.IdQuery, pb.IdList)


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "ANNOUNCE_INTERVAL", 0.05)
    monkeypatch.setattr(members, "POLL_INTERVAL", 0.1)


async def echo(request: pb.IdQuery) -> pb.IdList:
    return pb.IdList(ids=["echo", request.id])


@pytest.fixture
async def three(pki: Pki) -> AsyncIterator[list[RunningMember]]:
    store = FakeAnnouncementStore()
    async with (
        running_member(store, pki) as item,
        running_member(store, pki) as two,
        running_member(store, pki) as three,
    ):
        running = [item, two, three]
        for member in running:
            member.members.register_method(ECHO, echo)
        await until(lambda: all(len(member.members.reachable()) == 2 for member in running))
        yield running


async def broadcast(member: RunningMember, id: str = "x") -> list[list[str]]:
    """The responses of all peers, however busy the machine is."""
    responses = await member.members.broadcast(ECHO, pb.IdQuery(id=id), timeout_seconds=PATIENCE)
    return [list(response.ids) for response in responses]


def polled(member: RunningMember, address: str) -> bool:
    """Whether a peer was polled at least once."""
    (error,) = [status.error for status in member.members.statuses() if status.address == address]
    return error != "no response yet"


def states(member: RunningMember) -> list[str]:
    return sorted(status.state for status in member.members.statuses())


async def test_broadcast_three_members_calls_the_other_two(three: list[RunningMember]) -> None:
    item, two, _ = three
    assert await broadcast(item, "hello") == [["echo", "hello"]] * 2
    response = await item.members.call(two.id, ECHO, pb.IdQuery(id="you"), timeout_seconds=PATIENCE)
    assert list(response.ids) == ["echo", "you"]
    assert states(item) == ["reachable", "reachable", "this"]
    unknown = Method("Nothing", pb.IdQuery, pb.IdList)
    assert await item.members.broadcast(unknown, pb.IdQuery()) == []


async def test_broadcast_peer_fails_is_left_out(three: list[RunningMember]) -> None:
    item, two, _ = three

    async def fails(_request: pb.IdQuery) -> pb.IdList:
        raise NotFoundError("not here")

    two.members.register_method(ECHO, fails)
    assert await broadcast(item) == [["echo", "x"]]
    assert await broadcast(item, "x" * (MAX_REQUEST_BYTES + 1)) == []


async def test_broadcast_peer_hangs_costs_one_timeout_and_is_then_skipped(
    three: list[RunningMember], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members, "LOST_AFTER", 0.5)
    item, two, third = three
    hanging = asyncio.Event()
    lost: list[str] = []
    item.members.on_lost = lost.append

    async def hangs(_request: pb.IdQuery) -> pb.IdList:
        await hanging.wait()
        return pb.IdList()

    async def poll(id: str) -> None:
        await item.members.call(id, ECHO, pb.IdQuery())

    two.members.register_method(ECHO, hangs)
    started = time.monotonic()
    assert len(await item.members.broadcast(ECHO, pb.IdQuery(id="x"), timeout_seconds=3)) == 1
    assert 3 <= time.monotonic() - started < PATIENCE
    item.members.on_poll = poll
    await until(lambda: item.members.reachable() == (third.id,))
    started = time.monotonic()
    assert await broadcast(item) == [["echo", "x"]]
    assert time.monotonic() - started < PATIENCE, "it is not waited for again"
    await until(lambda: two.id in lost)
    (status,) = [status for status in item.members.statuses() if status.state == "unreachable"]
    assert "Echo" in status.error
    hanging.set()
    await until(lambda: two.id in item.members.reachable())


async def test_member_starts_and_stops_is_found_and_forgotten(pki: Pki) -> None:
    store = FakeAnnouncementStore()
    async with running_member(store, pki) as item:
        assert await item.members.broadcast(ECHO, pb.IdQuery()) == []
        assert item.members.statuses() == ()
        async with running_member(store, pki):
            await until(lambda: states(item) == ["reachable", "this"])
        await until(lambda: item.members.statuses() == ())


async def test_store_unavailable_peers_stay_connected(three: list[RunningMember]) -> None:
    store = three[0].members._store
    assert isinstance(store, FakeAnnouncementStore)
    store.unavailable = True
    store.announcements.clear()
    calls = store.calls
    await until(lambda: store.calls >= calls + 9)
    assert await broadcast(three[0]) == [["echo", "x"]] * 2


async def test_certificates_renewed_connections_follow(three: list[RunningMember], pki: Pki) -> None:
    item, two, _ = three
    old = item.members._peers[two.id].connection
    for member in three:
        member.renew(pki.server())
    await until(lambda: item.members._peers[two.id].connection is not old)
    await until(lambda: len(item.members.reachable()) == 2)
    assert await broadcast(item) == [["echo", "x"]] * 2


async def test_two_members_announce_one_address_error_names_the_setting(pki: Pki) -> None:
    store = FakeAnnouncementStore()
    async with (
        running_member(store, pki) as item,
        running_member(store, pki, f"127.0.0.1:{item.port}") as two,
    ):
        await until(lambda: any("MESH_ADVERTISE" in status.error for status in item.members.statuses()))
        assert two.id not in item.members.reachable()


async def test_announcement_invalid_is_ignored(pki: Pki) -> None:
    store = FakeAnnouncementStore({"stranger": "no JSON", "other": '{"xds": "127.0.0.1:1"}'})
    async with running_member(store, pki) as item:
        await until(lambda: states(item) == ["this", "unreachable"])
        assert item.members.reachable() == ()


@pytest.mark.parametrize("role", ["service", "gateway"])
async def test_call_by_another_identity_is_denied(three: list[RunningMember], pki: Pki, role: str) -> None:
    item = three[0]
    options = (("grpc.ssl_target_name_override", "control-plane.mesh"),)
    before = metrics.DENIED._value.get()
    async with grpc.aio.secure_channel(
        f"127.0.0.1:{item.port}", pki.client("orders", role), options
    ) as channel:
        call = channel.unary_unary(f"/{SERVICE}/Echo", None, None)
        with pytest.raises(grpc.aio.AioRpcError) as denied:
            await call(b"", timeout=PATIENCE, metadata=((MEMBER_ID_HEADER, item.id),))
    assert denied.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert metrics.DENIED._value.get() == before + 1


async def test_member_with_another_root_is_unreachable(three: list[RunningMember]) -> None:
    assert DOMAIN == "mesh.local"
    store = three[0].members._store
    assert isinstance(store, FakeAnnouncementStore)
    async with running_member(store, Pki()) as foreign:
        await until(lambda: len(foreign.members.statuses()) == 4)
        await until(lambda: foreign.id in three[0].members._peers)
        peers = [status for status in foreign.members.statuses() if status.state != "this"]
        await until(lambda: all(polled(foreign, peer.address) for peer in peers))
        await until(lambda: polled(three[0], foreign.address))
        assert foreign.members.reachable() == ()
        assert foreign.id not in three[0].members.reachable()
