"""Strangers at a listener: half requests, silence, too many connections, no file descriptors left."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from meshwright.control_plane.http_listener import CLOSED, HttpListener, ListenerLimits

WITHIN = 60.0
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HALF = b"GET / HTTP/1.1\r\nHost: x\r\nX: "


@asynccontextmanager
async def running(limits: ListenerLimits) -> AsyncIterator[tuple[HttpListener, int]]:
    """A listener whose application responds at `/`, and at `/slow` when `release` is set."""
    listener = HttpListener("test", limits)
    release = asyncio.Event()

    async def quick(_request: web.Request) -> web.Response:
        return web.Response(text="quick")

    async def slow(_request: web.Request) -> web.Response:
        await release.wait()
        return web.Response(text="slow")

    app = web.Application(middlewares=[listener.middleware])
    app.add_routes([web.get("/", quick), web.get("/slow", slow)])
    runner = web.AppRunner(app, access_log=None, logger=listener.logger, shutdown_timeout=1.0)
    await runner.setup()
    try:
        yield listener, await listener.start(runner, "127.0.0.1", 0)
    finally:
        release.set()
        listener.close()
        await runner.cleanup()


class Peer(NamedTuple):
    """A client's connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


async def send(port: int, data: bytes) -> Peer:
    peer = Peer(*await asyncio.open_connection("127.0.0.1", port))
    peer.writer.write(data)
    return peer


async def status(peer: Peer) -> bytes:
    """Read a response of five bytes and return its status."""
    head = await asyncio.wait_for(peer.reader.readuntil(b"\r\n\r\n"), WITHIN)
    await asyncio.wait_for(peer.reader.readexactly(5), WITHIN)
    return head.split(b" ")[1]


async def closed(peer: Peer) -> bool:
    """Wait for the end of a connection."""
    with contextlib.suppress(ConnectionError):
        await asyncio.wait_for(peer.reader.read(), WITHIN)
    return True


def count(reason: str) -> float:
    return float(CLOSED.labels("test", reason)._value.get())


@pytest.mark.parametrize("data", [b"", b"G", HALF])
async def test_connection_without_a_request_is_closed(data: bytes) -> None:
    before = count("timeout")
    async with running(ListenerLimits(connections=8, headers=0.3)) as (_, port):
        assert await closed(await send(port, data))
    assert count("timeout") == before + 1


async def test_idle_connection_is_closed_and_a_slow_second_request_sooner() -> None:
    limits = ListenerLimits(connections=8, headers=0.3, idle=600)
    async with running(limits) as (_, port):
        peer = await send(port, GET)
        assert await status(peer) == b"200"
        peer.writer.write(GET)
        assert await status(peer) == b"200"
        peer.writer.write(HALF)
        assert await closed(peer)
    async with running(ListenerLimits(connections=8, headers=600, idle=0.3)) as (_, port):
        peer = await send(port, GET)
        assert await status(peer) == b"200"
        assert await closed(peer)


async def test_request_that_takes_long_is_not_idle() -> None:
    async with running(ListenerLimits(connections=1, headers=0.1, idle=0.1)) as (listener, port):
        peer = await send(port, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        while listener.table.oldest() is not None or not len(listener.table):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        refused = await send(port, GET)
        assert await closed(refused)
        assert len(listener.table) == 1
        assert not peer.reader.at_eof()


async def test_full_listener_serves_who_sends_a_request() -> None:
    before = count("limit")
    async with running(ListenerLimits(connections=10, headers=600)) as (listener, port):
        held = [await send(port, HALF) for _ in range(50)]
        for _ in range(3):
            assert await status(await send(port, GET)) == b"200"
        assert len(listener.table) <= 10
        assert await closed(held[0])
    assert count("limit") >= before + 40


async def test_malformed_requests_leave_one_short_line_each_and_not_many() -> None:
    async with running(ListenerLimits(connections=200)) as (_, port):
        with capture_logs() as logs:
            for _ in range(60):
                await closed(await send(port, b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n"))
    lines = [entry for entry in logs if entry["event"] == "malformed request"]
    assert 1 <= len(lines) <= 25
    assert {(entry["peer"], entry["listener"]) for entry in lines} == {("127.0.0.1", "test")}
    assert all(len(str(entry)) < 400 for entry in lines)
    assert not [entry for entry in logs if "exc_info" in entry]


async def test_process_without_file_descriptors_closes_a_silent_connection_and_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(ListenerLimits(connections=10, headers=600)) as (listener, port):
        silent = await send(port, b"")
        while not len(listener.table):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        loop, failures = asyncio.get_running_loop(), iter([errno.EMFILE, errno.ECONNABORTED])
        accept = loop.sock_accept

        async def exhausted(sock: object) -> object:
            for number in failures:
                raise OSError(number, "no accept")
            return await accept(sock)  # type: ignore[arg-type]

        monkeypatch.setattr(loop, "sock_accept", exhausted)
        first = await send(port, GET)  # taken by the accept that was already waiting
        second = await send(port, GET)
        assert await status(first) == b"200"
        assert await status(second) == b"200"
        assert await closed(silent)
