"""Long streams through a gateway in the background of a test: chunked HTTP, a WebSocket, gRPC."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterable

import aiohttp
import grpc

EVERY = 0.2
"""Seconds between two messages."""

END = b"end"


class BackgroundStream(threading.Thread):
    """A stream of some seconds to a port of this host; so many `lines` have arrived.

    `outcome`: `end`, or why it broke; empty while it goes on.
    """

    def __init__(self, port: int, seconds: int, host: str = "stream.test") -> None:
        super().__init__(daemon=True)
        self._port = port
        self._seconds = seconds
        self._host = host
        self.lines = 0
        self.outcome = ""

    @abstractmethod
    def receive(self) -> None:
        """Receive to the end, and `count` each message."""

    def count(self, message: bytes) -> None:
        """Note a message."""
        self.lines += 1
        self._last = message

    def run(self) -> None:
        self._last = b""
        try:
            self.receive()
            self.outcome = "end" if END in self._last else f"cut after {self._last!r}"
        except (OSError, http.client.HTTPException, grpc.RpcError, aiohttp.ClientError) as error:
            self.outcome = repr(error)

    @property
    def timeout(self) -> float:
        """Seconds for all of it, on a busy machine too."""
        return self._seconds * 2 + 60


class ChunkedStream(BackgroundStream):
    """A chunked response of the fake app."""

    def receive(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=self.timeout)
        try:
            path = f"/stream?seconds={self._seconds}&every={EVERY}"
            connection.request("GET", path, headers={"host": self._host})
            for line in connection.getresponse():
                self.count(line)
        finally:
            connection.close()


class WebSocketStream(BackgroundStream):
    """A WebSocket on which each message is echoed before the next one is sent."""

    def receive(self) -> None:
        asyncio.run(asyncio.wait_for(self._echo(), self.timeout))

    async def _echo(self) -> None:
        url = f"ws://127.0.0.1:{self._port}/ws"
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, headers={"host": self._host}) as socket,
        ):
            for number in range(round(self._seconds / EVERY)):
                await self._echoed(socket, str(number).encode())
                await asyncio.sleep(EVERY)
            await self._echoed(socket, END)

    async def _echoed(self, socket: aiohttp.ClientWebSocketResponse, message: bytes) -> None:
        await socket.send_str(message.decode())
        received = await socket.receive()
        if received.type is not aiohttp.WSMsgType.TEXT:
            raise aiohttp.ClientConnectionError(f"{received.type} after {self.lines} messages")
        self.count(received.data.encode())


class GrpcStream(BackgroundStream):
    """A server stream of the gRPC test application."""

    def receive(self) -> None:
        options = [("grpc.default_authority", self._host), ("grpc.enable_http_proxy", 0)]
        request = json.dumps({"seconds": self._seconds, "every": EVERY}).encode()
        with grpc.insecure_channel(f"127.0.0.1:{self._port}", options=options) as channel:
            stream = channel.unary_stream("/fake.Echo/Stream", None, None)
            for message in stream(request, timeout=self.timeout):
                self.count(message)


def begun(streams: Iterable[BackgroundStream], until: Callable[..., object]) -> None:
    """Start streams, and wait until each has begun."""
    for stream in streams:
        stream.start()
    for stream in streams:
        until(lambda: stream.lines or stream.outcome, "the stream began")  # noqa: B023


def completed(streams: Iterable[BackgroundStream]) -> dict[str, str]:
    """The outcome of each stream once it has ended, by its kind."""
    for stream in streams:
        stream.join(stream.timeout)
    return {type(stream).__name__: stream.outcome or "goes on" for stream in streams}
