"""Callers who do nothing wrong while another attacks. Whatever happens to them is a failure.

Through each entrance: calls that are in flight during the whole attack, a stream of lines, a WebSocket, and
small calls one after another, some with a body. Over one gRPC channel: a stream and small calls.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import grpc

from tests.envoy.isolation.entrance import Entrance, status_of

PAUSE = 0.01
"""Seconds between two small calls of a caller."""

PATIENCE = 60.0
"""Seconds after which a bystander counts as stuck. How fast it is served is a figure of bench.isolation."""

BODIES = (b"", b"x" * 1_000, b"x" * 200_000)


@dataclass
class Report:
    """What the bystanders saw: failures in words, and the seconds of each small call."""

    failures: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)

    def p99(self) -> float:
        """The 99th percentile of small calls, in seconds."""
        return sorted(self.seconds)[int(len(self.seconds) * 0.99)]


@asynccontextmanager
async def bystanders(
    entrances: Sequence[Entrance],
    channel: grpc.aio.Channel | None = None,
    *,
    everything: bool = True,
) -> AsyncIterator[Report]:
    """Callers for the duration of the block; `everything` False: no streams and WebSockets."""
    report = Report()
    kinds = (small_calls, long_calls, lines, websocket) if everything else (small_calls, long_calls)
    calls = [kind(entrance, report) for entrance in entrances for kind in kinds]
    if channel is not None:
        calls += [grpc_calls(channel, report), grpc_stream(channel, report)]
    tasks = [asyncio.create_task(_watched(call, report)) for call in calls]
    await asyncio.sleep(0.5)
    try:
        yield report
    finally:
        report.stopped.set()
        await asyncio.gather(*tasks)


async def _watched(call: Awaitable[None], report: Report) -> None:
    try:
        await call
    except Exception as error:
        report.failures.append(repr(error))


async def small_calls(entrance: Entrance, report: Report) -> None:
    """One after another, each on its own connection."""
    number = 0
    while not report.stopped.is_set():
        body = BODIES[number % len(BODIES)]
        number += 1
        start = time.monotonic()
        answer = await entrance.get("/echo", method="POST" if body else "GET", body=body)
        report.seconds.append(time.monotonic() - start)
        if status_of(answer) != "200":
            report.failures.append(f"{entrance.name}: a small call got {answer[:300]!r}")
        await asyncio.sleep(PAUSE)


async def _repeatedly(call: Callable[[], Awaitable[bytes]], name: str, report: Report) -> None:
    while not report.stopped.is_set():
        answer = await call()
        if status_of(answer) != "200":
            report.failures.append(f"{name} got {answer[:300]!r}")


async def long_calls(entrance: Entrance, report: Report) -> None:
    """Five at a time, one second each."""
    name = f"{entrance.name}: a long call"
    calls = (_repeatedly(lambda: entrance.get("/delay?ms=1000"), name, report) for _ in range(5))
    await asyncio.gather(*calls)


async def lines(entrance: Entrance, report: Report) -> None:
    """A stream of lines that arrives whole, again and again."""
    while not report.stopped.is_set():
        answer = await entrance.get("/stream?seconds=2&every=0.1")
        if b"end 20\n" not in answer:
            report.failures.append(f"{entrance.name}: a stream ended after {answer[-30:]!r}")


async def websocket(entrance: Entrance, report: Report) -> None:
    """One WebSocket that answers to the end."""
    url, proxy = f"http://127.0.0.1:{entrance.port}/ws", None
    if entrance.prefix:
        url, proxy = f"{entrance.prefix}/ws", f"http://127.0.0.1:{entrance.port}"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, proxy=proxy) as socket:
        while not report.stopped.is_set():
            await socket.send_str("hello")
            await socket.receive_str(timeout=PATIENCE)
            await asyncio.sleep(0.1)


async def grpc_calls(channel: grpc.aio.Channel, report: Report) -> None:
    """Small calls one after another."""
    echo = channel.unary_unary("/fake.Echo/Echo", None, None)
    while not report.stopped.is_set():
        await echo(b"{}", timeout=PATIENCE)
        await asyncio.sleep(PAUSE)


async def grpc_stream(channel: grpc.aio.Channel, report: Report) -> None:
    """A stream that arrives whole, again and again."""
    stream = channel.unary_stream("/fake.Echo/Stream", None, None)
    message = json.dumps({"seconds": 2, "every": 0.1}).encode()
    while not report.stopped.is_set():
        received = [item async for item in stream(message, timeout=PATIENCE)]
        if received[-1] != b"end":
            report.failures.append(f"a gRPC stream ended after {received[-1]!r}")
