"""Conversations in the background of a test, which go on until `finish`.

A message is sent, and the next one when its answer has arrived whole; uploads and downloads are paced by
the client, so that bytes are under way all the time.
"""

from __future__ import annotations

import asyncio
import threading
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import aiohttp
import grpc

EVERY = 0.1
"""Seconds between two messages."""

CHUNK = 16 * 1024
"""Bytes of an upload or a download that are sent or read at a time."""

PATIENCE = 60.0
"""Seconds without an answer after which a conversation is broken, on a busy machine too."""

DOWNLOAD = 128
"""Megabytes: more than is read while a test goes on."""

BROKEN = (
    *(OSError, EOFError, TimeoutError, grpc.RpcError, aiohttp.ClientError),
    asyncio.InvalidStateError,  # a gRPC stream that has ended is written to
)

Exchange = Callable[[bytes], Awaitable[None]]
"""Sends a message and raises ConnectionError unless the answer is the right one."""


class Conversation(threading.Thread):
    """One to `host` by a port of this host. `outcome`: `end`, or why it broke; empty while it goes on."""

    def __init__(self, port: int, host: str, address: str = "127.0.0.1") -> None:
        super().__init__(daemon=True)
        self.address = f"{address}:{port}"
        self.host = host
        self.exchanges = 0
        self.outcome = ""
        self._ending = threading.Event()

    @abstractmethod
    def open(self) -> AbstractAsyncContextManager[Exchange]:
        """Begin it; what has been transferred is checked at the end of the block."""

    def finish(self) -> str:
        """End it, and return its outcome."""
        self._ending.set()
        self.join(PATIENCE * 3)
        return self.outcome or "goes on"

    def run(self) -> None:
        try:
            asyncio.run(self._converse())
            self.outcome = "end"
        except BROKEN as error:
            self.outcome = f"{error!r} after {self.exchanges} exchanges"

    async def _converse(self) -> None:
        async with self.open() as exchange:
            while not self._ending.is_set():
                await asyncio.wait_for(exchange(str(self.exchanges).encode()), PATIENCE)
                self.exchanges += 1
                await asyncio.sleep(EVERY)

    def __str__(self) -> str:
        return f"{type(self).__name__} by {self.address}"


def check(answer: bytes, message: bytes) -> None:
    """Raise ConnectionError unless an app named itself and repeated the message."""
    if not answer.endswith(b": " + message):
        raise ConnectionError(f"{answer!r} in reply to {message!r}")


class WebSocketConversation(Conversation):
    """A WebSocket to the fake app."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Exchange]:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"ws://{self.address}/ws", headers={"host": self.host}) as socket,
        ):

            async def exchange(message: bytes) -> None:
                await socket.send_str(message.decode())
                received = await socket.receive()
                if received.type is not aiohttp.WSMsgType.TEXT:
                    raise ConnectionError(f"{received.type}: {received.data}")
                check(received.data.encode(), message)

            yield exchange


class GrpcConversation(Conversation):
    """A gRPC stream in both directions."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Exchange]:
        options = [("grpc.default_authority", self.host), ("grpc.enable_http_proxy", 0)]
        async with grpc.aio.insecure_channel(self.address, options=options) as channel:
            stream = channel.stream_stream("/fake.Echo/Both", None, None)()  # type: ignore[call-arg]

            async def exchange(message: bytes) -> None:
                await stream.write(message)
                answer = await stream.read()
                check(answer if isinstance(answer, bytes) else b"the end", message)

            yield exchange
            await stream.done_writing()
            if (code := await stream.code()) is not grpc.StatusCode.OK:
                raise ConnectionError(str(code))


class TcpConversation(Conversation):
    """A plain TCP connection."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Exchange]:
        address, _, port = self.address.rpartition(":")
        reader, writer = await asyncio.open_connection(address, int(port))

        async def exchange(message: bytes) -> None:
            writer.write(message + b"\n")
            check(await reader.readline(), message + b"\n")

        yield exchange
        writer.write_eof()
        if rest := await asyncio.wait_for(reader.read(), PATIENCE):
            raise ConnectionError(f"{rest!r} at the end")
        writer.close()


class Upload(Conversation):
    """One request with a long body, whose length the fake app repeats at its end."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Exchange]:
        chunks: asyncio.Queue[bytes] = asyncio.Queue(1)
        sent = 0

        async def body() -> AsyncIterator[bytes]:
            while chunk := await chunks.get():
                yield chunk

        async with aiohttp.ClientSession() as session:
            url, headers = f"http://{self.address}/echo", {"host": self.host}
            request = asyncio.create_task(session.post(url, data=body(), headers=headers).__aenter__())

            async def exchange(_: bytes) -> None:
                nonlocal sent
                if request.done():
                    raise ConnectionError(f"{(await request).status} before the end")
                await chunks.put(bytes(CHUNK))
                sent += CHUNK

            yield exchange
            await chunks.put(b"")
            response = await asyncio.wait_for(request, PATIENCE)
            received = (await response.json())["body_len"]
            if received != sent:
                raise ConnectionError(f"{received} of {sent} bytes arrived")


class Download(Conversation):
    """One response with a long body, read slowly: the proxies hold as much of it as they may."""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Exchange]:
        timeout = aiohttp.ClientTimeout(total=None, sock_read=PATIENCE)
        url, headers = f"http://{self.address}/big?mb={DOWNLOAD}", {"host": self.host}
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, headers=headers) as response,
        ):
            received = 0

            async def exchange(_: bytes) -> None:
                nonlocal received
                received += len(await response.content.readexactly(CHUNK))

            yield exchange
            received += len(await response.read())
            if received != DOWNLOAD << 20:
                raise ConnectionError(f"{response.status}, {received} of {DOWNLOAD << 20} bytes")
