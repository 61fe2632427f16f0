"""Control planes find each other, ask each other, and lose nothing but time by one that is gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import grpc
import pytest

from control_plane.errors import NotFoundError
from control_plane.peers import app, metrics
from control_plane.peers.server import PLANE_ID, REQUEST_LIMIT, SERVICE
from tests.envoy.xds_lab import PATIENCE, until
from tests.fakes.pki import DOMAIN, Pki
from tests.peers.planes import Board, Plane, plane


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "ANNOUNCE_EVERY", 0.05)
    monkeypatch.setattr(app, "POLL_EVERY", 0.1)


async def echo(request: bytes) -> bytes:
    return b"echo " + request


@pytest.fixture
async def three(pki: Pki) -> AsyncIterator[list[Plane]]:
    board = Board()
    async with plane(board, pki) as one, plane(board, pki) as two, plane(board, pki) as three:
        planes = [one, two, three]
        for each in planes:
            each.peers.answers("Echo", echo)
        await until(lambda: all(len(each.peers.answering()) == 2 for each in planes))
        yield planes


async def everyone(plane: Plane, request: bytes = b"x") -> list[bytes]:
    """What all peers answer, however busy the machine is."""
    return await plane.peers.everyone("Echo", request, within=PATIENCE)


def states(plane: Plane) -> list[str]:
    return sorted(one.state for one in plane.peers.statuses())


async def test_everyone_answers_but_oneself(three: list[Plane]) -> None:
    one, two, _ = three
    assert await everyone(one, b"hello") == [b"echo hello"] * 2
    assert await one.peers.ask(two.peers.id, "Echo", b"you", within=PATIENCE) == b"echo you"
    assert states(one) == ["answers", "answers", "this"]
    assert await one.peers.everyone("Nothing") == []


async def test_one_that_cannot_answer_is_left_out(three: list[Plane]) -> None:
    one, two, _ = three

    async def fails(_request: bytes) -> bytes:
        raise NotFoundError("not here")

    two.peers.answers("Echo", fails)
    assert await everyone(one) == [b"echo x"]
    assert await everyone(one, bytes(REQUEST_LIMIT + 1)) == []


async def test_one_that_hangs_costs_one_deadline_and_is_then_passed_over(
    three: list[Plane], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "SILENT", 0.5)
    one, two, third = three
    hanging = asyncio.Event()
    lost: list[str] = []
    one.peers.lost = lost.append

    async def hangs(request: bytes) -> bytes:
        await hanging.wait()
        return request

    two.peers.answers("Echo", hangs)
    begun = time.monotonic()
    assert await one.peers.everyone("Echo", b"x", within=3) == [b"echo x"]
    assert 3 <= time.monotonic() - begun < PATIENCE
    one.peers.poll = _asked
    await until(lambda: one.peers.answering() == (third.peers.id,))
    begun = time.monotonic()
    assert await everyone(one) == [b"echo x"]
    assert time.monotonic() - begun < PATIENCE, "it is not waited for again"
    await until(lambda: two.peers.id in lost)
    (silent,) = [status for status in one.peers.statuses() if status.state == "silent"]
    assert "Echo" in silent.trouble
    hanging.set()
    await until(lambda: two.peers.id in one.peers.answering())


async def _asked(_id: str, ask: app.Ask) -> None:
    async with asyncio.timeout(5):
        await ask("Echo", b"")


async def test_one_that_stops_is_forgotten_and_one_that_comes_is_found(pki: Pki) -> None:
    board = Board()
    async with plane(board, pki) as one:
        assert await one.peers.everyone("Echo") == []
        assert one.peers.statuses() == ()
        async with plane(board, pki):
            await until(lambda: states(one) == ["answers", "this"])
        await until(lambda: one.peers.statuses() == ())


async def test_a_store_that_is_away_parts_nobody(three: list[Plane], pki: Pki) -> None:
    board = three[0].peers._planes
    assert isinstance(board, Board)
    board.away = True
    board.told.clear()
    await asyncio.sleep(0.3)
    assert await everyone(three[0]) == [b"echo x"] * 2


async def test_certificates_are_renewed_under_way(three: list[Plane], pki: Pki) -> None:
    one, two, _ = three
    old = one.peers._peers[two.peers.id].client
    for each in three:
        each.renew(pki.server())
    await until(lambda: one.peers._peers[two.peers.id].client is not old)
    await until(lambda: len(one.peers.answering()) == 2)
    assert await everyone(one) == [b"echo x"] * 2


async def test_two_that_announce_one_address_are_told_so(pki: Pki) -> None:
    board = Board()
    async with plane(board, pki) as one, plane(board, pki, f"127.0.0.1:{one.port}") as two:
        await until(lambda: any("MESH_ADVERTISE" in each.trouble for each in one.peers.statuses()))
        assert two.peers.id not in one.peers.answering()


async def test_what_is_announced_in_bad_form_is_passed_over(pki: Pki) -> None:
    board = Board({"stranger": "no JSON", "other": '{"xds": "127.0.0.1:1"}'})
    async with plane(board, pki) as one:
        await until(lambda: states(one) == ["silent", "this"])
        assert one.peers.answering() == ()


@pytest.mark.parametrize("role", ["service", "gateway"])
async def test_nobody_but_a_control_plane_is_answered(three: list[Plane], pki: Pki, role: str) -> None:
    one = three[0]
    options = (("grpc.ssl_target_name_override", "control-plane.mesh"),)
    before = metrics.REFUSED._value.get()
    async with grpc.aio.secure_channel(
        f"127.0.0.1:{one.port}", pki.client("orders", role), options
    ) as channel:
        call = channel.unary_unary(f"/{SERVICE}/Echo", None, None)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(b"x", timeout=PATIENCE, metadata=((PLANE_ID, one.peers.id),))
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert metrics.REFUSED._value.get() == before + 1


async def test_a_root_of_another_mesh_is_no_peer(three: list[Plane], pki: Pki) -> None:
    assert DOMAIN == "mesh.local"
    board = three[0].peers._planes
    assert isinstance(board, Board)
    async with plane(board, Pki()) as foreign:
        await until(lambda: len(foreign.peers.statuses()) == 4)
        await until(lambda: foreign.peers.id in three[0].peers._peers)
        await asyncio.sleep(0.5)
        assert foreign.peers.answering() == ()
        assert foreign.peers.id not in three[0].peers.answering()
