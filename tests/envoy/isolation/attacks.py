"""What one caller does that must not harm others: calls it gives up, and transfers that it does not read."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import grpc

from tests.envoy.isolation.entrance import Entrance

Attack = Callable[[Entrance], Callable[[], Awaitable[None]]]
Stall = Callable[[Entrance, int], AbstractAsyncContextManager[None]]

GIVE_UP = 0.08
"""Seconds after which a call is given up."""

SETTLE = 1.0
"""Seconds in which windows and buffers fill."""

MEGABYTES = 40
"""Size of a transfer that nobody reads: more than all windows and buffers on the way."""

UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
TEXT_FRAME = b"\x81\xff" + (1 << 20).to_bytes(8) + bytes(4) + b"x" * (1 << 20)
"""A WebSocket message of a megabyte, masked with zeros (RFC 6455, section 5.2)."""


async def at_rate(call: Callable[[], Awaitable[None]], rate: int, seconds: float) -> int:
    """Start `rate` calls a second; returns their number when all have ended."""
    loop = asyncio.get_running_loop()
    start, tasks = loop.time(), list[asyncio.Task[None]]()
    while (elapsed := loop.time() - start) < seconds:
        due = int(elapsed * rate) - len(tasks)
        tasks += [asyncio.ensure_future(call()) for _ in range(due)]
        await asyncio.sleep(0.02)
    await asyncio.gather(*tasks)
    return len(tasks)


def abandoned_call(entrance: Entrance) -> Callable[[], Awaitable[None]]:
    """A call whose client leaves before the answer."""

    async def call() -> None:
        with contextlib.suppress(ConnectionError):
            _, writer = await entrance.open()
            writer.write(entrance.request("/delay?ms=1000"))
            await asyncio.sleep(GIVE_UP)
            writer.transport.abort()

    return call


def timed_out_call(entrance: Entrance) -> Callable[[], Awaitable[None]]:
    """A call that a Timeout ends: `/switch/late` must have one, and be slow."""

    async def call() -> None:
        answer = await entrance.get("/switch/late")
        assert answer.startswith(b"HTTP/1.1 504"), answer

    return call


def abandoned_websocket(entrance: Entrance) -> Callable[[], Awaitable[None]]:
    """A WebSocket whose client leaves without closing it."""

    async def call() -> None:
        with contextlib.suppress(ConnectionError):
            _, writer = await entrance.open()
            writer.write(entrance.request("/ws", *UPGRADE))
            await asyncio.sleep(GIVE_UP)
            writer.transport.abort()

    return call


def abandoned_grpc_call(channel: grpc.aio.Channel) -> Callable[[], Awaitable[None]]:
    """A gRPC call whose deadline passes."""
    echo = channel.unary_unary("/fake.Echo/Echo", None, None)

    async def call() -> None:
        with contextlib.suppress(grpc.aio.AioRpcError):
            await echo(json.dumps({"delay": 1}).encode(), timeout=GIVE_UP)

    return call


@asynccontextmanager
async def unread_downloads(entrance: Entrance, count: int) -> AsyncIterator[None]:
    """Downloads that stay open and unread for the duration of the block."""
    clients = [await entrance.open(unread=True) for _ in range(count)]
    for _, writer in clients:
        writer.write(entrance.request(f"/big?mb={MEGABYTES}"))
    await asyncio.sleep(SETTLE)
    yield
    for _, writer in clients:
        writer.transport.abort()


@asynccontextmanager
async def unread_uploads(entrance: Entrance, count: int) -> AsyncIterator[None]:
    """Uploads that the app does not read."""
    clients = [await entrance.open() for _ in range(count)]
    length = f"Content-Length: {MEGABYTES << 20}"
    for _, writer in clients:
        writer.write(entrance.request("/stall?seconds=60", length, method="POST"))
    tasks = [asyncio.create_task(_send_all(writer, bytes(1 << 20))) for _, writer in clients]
    await asyncio.sleep(SETTLE)
    assert not any(task.done() for task in tasks), "an upload was taken whole"
    yield
    for (_, writer), task in zip(clients, tasks, strict=True):
        task.cancel()
        writer.transport.abort()


@asynccontextmanager
async def unread_websockets(entrance: Entrance, count: int) -> AsyncIterator[None]:
    """WebSockets to an echo whose client does not read, so that in the end it cannot send either."""
    clients = [await entrance.open(unread=True) for _ in range(count)]
    for reader, writer in clients:
        writer.write(entrance.request("/ws", *UPGRADE))
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    tasks = [asyncio.create_task(_send_all(writer, TEXT_FRAME)) for _, writer in clients]
    await asyncio.sleep(SETTLE)
    yield
    for (_, writer), task in zip(clients, tasks, strict=True):
        task.cancel()
        writer.transport.abort()


async def _send_all(writer: asyncio.StreamWriter, megabyte: bytes) -> None:
    for _ in range(MEGABYTES):
        writer.write(megabyte)
        await writer.drain()


@asynccontextmanager
async def unread_grpc_streams(channel: grpc.aio.Channel, count: int) -> AsyncIterator[None]:
    """Streams of large messages of which only the first is read."""
    stream = channel.unary_stream("/fake.Echo/Stream", None, None)
    message = json.dumps({"seconds": 60, "every": 0.01, "size": 1 << 20}).encode()
    calls = [stream(message) for _ in range(count)]
    for call in calls:
        await call.read()
    await asyncio.sleep(SETTLE)
    yield
    for call in calls:
        call.cancel()
