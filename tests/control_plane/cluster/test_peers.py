"""Control planes find each other, ask each other, and lose nothing but time by one that is gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import grpc
import pytest

from meshwright.control_plane.cluster import members, metrics
from meshwright.control_plane.cluster.service import MAX_REQUEST_BYTES, MEMBER_ID_HEADER, SERVICE
from meshwright.control_plane.errors import NotFoundError
from tests.control_plane.cluster.planes import FakeAnnouncementStore, RunningMember, running_member
from tests.envoy.xds_lab import PATIENCE, until
from tests.fakes.pki import DOMAIN, Pki


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "ANNOUNCE_EVERY", 0.05)
    monkeypatch.setattr(members, "POLL_EVERY", 0.1)


async def echo(request: bytes) -> bytes:
    return b"echo " + request


@pytest.fixture
async def three(pki: Pki) -> AsyncIterator[list[RunningMember]]:
    board = FakeAnnouncementStore()
    async with (
        running_member(board, pki) as one,
        running_member(board, pki) as two,
        running_member(board, pki) as three,
    ):
        planes = [one, two, three]
        for each in planes:
            each.members.register_method("Echo", echo)
        await until(lambda: all(len(each.members.reachable()) == 2 for each in planes))
        yield planes


async def everyone(plane: RunningMember, request: bytes = b"x") -> list[bytes]:
    """What all peers answer, however busy the machine is."""
    return await plane.members.broadcast("Echo", request, timeout_seconds=PATIENCE)


def states(plane: RunningMember) -> list[str]:
    return sorted(one.state for one in plane.members.statuses())


async def test_everyone_answers_but_oneself(three: list[RunningMember]) -> None:
    one, two, _ = three
    assert await everyone(one, b"hello") == [b"echo hello"] * 2
    assert await one.members.call(two.members.id, "Echo", b"you", timeout_seconds=PATIENCE) == b"echo you"
    assert states(one) == ["answers", "answers", "this"]
    assert await one.members.broadcast("Nothing") == []


async def test_one_that_cannot_answer_is_left_out(three: list[RunningMember]) -> None:
    one, two, _ = three

    async def fails(_request: bytes) -> bytes:
        raise NotFoundError("not here")

    two.members.register_method("Echo", fails)
    assert await everyone(one) == [b"echo x"]
    assert await everyone(one, bytes(MAX_REQUEST_BYTES + 1)) == []


async def test_one_that_hangs_costs_one_deadline_and_is_then_passed_over(
    three: list[RunningMember], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members, "SILENT", 0.5)
    one, two, third = three
    hanging = asyncio.Event()
    lost: list[str] = []
    one.members.on_lost = lost.append

    async def hangs(request: bytes) -> bytes:
        await hanging.wait()
        return request

    two.members.register_method("Echo", hangs)
    begun = time.monotonic()
    assert await one.members.broadcast("Echo", b"x", timeout_seconds=3) == [b"echo x"]
    assert 3 <= time.monotonic() - begun < PATIENCE
    one.members.on_poll = _asked
    await until(lambda: one.members.reachable() == (third.members.id,))
    begun = time.monotonic()
    assert await everyone(one) == [b"echo x"]
    assert time.monotonic() - begun < PATIENCE, "it is not waited for again"
    await until(lambda: two.members.id in lost)
    (silent,) = [status for status in one.members.statuses() if status.state == "silent"]
    assert "Echo" in silent.error
    hanging.set()
    await until(lambda: two.members.id in one.members.reachable())


async def _asked(_id: str, ask: members.CallPeer) -> None:
    async with asyncio.timeout(5):
        await ask("Echo", b"")


async def test_one_that_stops_is_forgotten_and_one_that_comes_is_found(pki: Pki) -> None:
    board = FakeAnnouncementStore()
    async with running_member(board, pki) as one:
        assert await one.members.broadcast("Echo") == []
        assert one.members.statuses() == ()
        async with running_member(board, pki):
            await until(lambda: states(one) == ["answers", "this"])
        await until(lambda: one.members.statuses() == ())


async def test_a_store_that_is_away_parts_nobody(three: list[RunningMember], pki: Pki) -> None:
    board = three[0].members._planes
    assert isinstance(board, FakeAnnouncementStore)
    board.unavailable = True
    board.announcements.clear()
    await asyncio.sleep(0.3)
    assert await everyone(three[0]) == [b"echo x"] * 2


async def test_certificates_are_renewed_under_way(three: list[RunningMember], pki: Pki) -> None:
    one, two, _ = three
    old = one.members._peers[two.members.id].client
    for each in three:
        each.renew(pki.server())
    await until(lambda: one.members._peers[two.members.id].client is not old)
    await until(lambda: len(one.members.reachable()) == 2)
    assert await everyone(one) == [b"echo x"] * 2


async def test_two_that_announce_one_address_are_told_so(pki: Pki) -> None:
    board = FakeAnnouncementStore()
    async with running_member(board, pki) as one, running_member(board, pki, f"127.0.0.1:{one.port}") as two:
        await until(lambda: any("MESH_ADVERTISE" in each.error for each in one.members.statuses()))
        assert two.members.id not in one.members.reachable()


async def test_what_is_announced_in_bad_form_is_passed_over(pki: Pki) -> None:
    board = FakeAnnouncementStore({"stranger": "no JSON", "other": '{"xds": "127.0.0.1:1"}'})
    async with running_member(board, pki) as one:
        await until(lambda: states(one) == ["silent", "this"])
        assert one.members.reachable() == ()


@pytest.mark.parametrize("role", ["service", "gateway"])
async def test_nobody_but_a_control_plane_is_answered(
    three: list[RunningMember], pki: Pki, role: str
) -> None:
    one = three[0]
    options = (("grpc.ssl_target_name_override", "control-plane.mesh"),)
    before = metrics.DENIED._value.get()
    async with grpc.aio.secure_channel(
        f"127.0.0.1:{one.port}", pki.client("orders", role), options
    ) as channel:
        call = channel.unary_unary(f"/{SERVICE}/Echo", None, None)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(b"x", timeout=PATIENCE, metadata=((MEMBER_ID_HEADER, one.members.id),))
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert metrics.DENIED._value.get() == before + 1


async def test_a_root_of_another_mesh_is_no_peer(three: list[RunningMember], pki: Pki) -> None:
    assert DOMAIN == "mesh.local"
    board = three[0].members._planes
    assert isinstance(board, FakeAnnouncementStore)
    async with running_member(board, Pki()) as foreign:
        await until(lambda: len(foreign.members.statuses()) == 4)
        await until(lambda: foreign.members.id in three[0].members._peers)
        await asyncio.sleep(0.5)
        assert foreign.members.reachable() == ()
        assert foreign.members.id not in three[0].members.reachable()
