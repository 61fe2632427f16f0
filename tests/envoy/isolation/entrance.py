"""Where calls enter the mesh: the ingress, or the sidecar of a caller as its HTTP proxy. Raw HTTP/1.1."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

SMALL_BUFFER = 4096
"""Bytes of the receive buffer of a client that reads nothing, so that little fits on the way."""


@dataclass(frozen=True)
class Entrance:
    """A port, the host to name there, and what precedes each path (`http://back` for a proxy)."""

    name: str
    port: int
    host: str
    prefix: str = ""

    def request(self, path: str, *headers: str, method: str = "GET", body: bytes = b"") -> bytes:
        """The bytes of a request."""
        lines = [f"{method} {self.prefix}{path} HTTP/1.1", f"Host: {self.host}", *headers]
        length = [f"Content-Length: {len(body)}"] if body else []
        return "\r\n".join([*lines, *length, "", ""]).encode() + body

    async def open(self, *, unread: bool = False) -> Streams:
        """A connection; `unread` for a client that will not read."""
        client = socket.socket()
        if unread:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", self.port))
        return await asyncio.open_connection(sock=client, limit=SMALL_BUFFER if unread else 1 << 20)

    async def exchange(self, message: bytes, within: float = 30) -> bytes:
        """All bytes of the answer to `message`; what has arrived if the connection is cut or stays open."""
        reader, writer = await self.open()
        answer = bytearray()
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(within):
                writer.write(message)
                while data := await reader.read(1 << 16):
                    answer += data
        writer.transport.abort()
        return bytes(answer)

    async def get(self, path: str, *, method: str = "GET", body: bytes = b"", within: float = 60) -> bytes:
        """The answer to a request on a connection of its own."""
        return await self.exchange(self.request(path, "Connection: close", method=method, body=body), within)


def status_of(answer: bytes) -> str:
    """`200`, or an empty string without an answer."""
    return answer[9:12].decode("latin-1") if answer.startswith(b"HTTP/1.") else ""
