"""A test application whose responses a sidecar must not pass on as they are.

`python -m tests.fakes.malformed_app` listens on `PORT`.

```
GET /malformed/SEED/NUMBER  a response of tests.envoy.isolation.malformed
GET /delay?ms=3000          200 after that time
any other                   200
```
With `SPEAKS=h2` it speaks HTTP/2 without TLS. The malformed response is then one of `BAD_HEADERS`, by NUMBER,
on a connection that carries other responses too.
"""

from __future__ import annotations

import asyncio
import os
import re
import struct
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs, urlsplit

import h2.config
import h2.connection
import h2.events
from hpack import Encoder

from tests.envoy.isolation import malformed

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SERVING = b"\0\0\0\0\x02\x08\x01"
Headers = list[tuple[bytes, bytes]]

BAD_HEADERS: tuple[Headers, ...] = (
    [],
    [(b"content-type", b"a")],
    [(b":status", b"")],
    [(b":status", b"abc")],
    [(b":status", b"099")],
    [(b":status", b"101")],
    [(b":status", b"200"), (b":status", b"200")],
    [(b":status", b"200"), (b":path", b"/")],
    [(b":status", b"200"), (b"X-Upper", b"1")],
    [(b":status", b"200"), (b"connection", b"close")],
    [(b":status", b"200"), (b"transfer-encoding", b"chunked")],
    [(b":status", b"200"), (b"te", b"gzip")],
    [(b":status", b"200"), (b"", b"1")],
    [(b":status", b"200"), (b"a b", b"1")],
    [(b":status", b"200"), (b"a", b"1\x00")],
    [(b":status", b"200"), (b"a", b"1\n2")],
    [(b":status", b"200"), (b"content-length", b"-1")],
    [(b":status", b"200"), (b"content-length", b"20")],
    [(b":status", b"200"), *[(b"x-%d" % number, b"1") for number in range(300)]],
    [(b":status", b"200"), *[(b"x-%d" % number, b"1" * 40_000) for number in range(3)]],
)
HEADERS, CONTINUATION = 0x1, 0x9
END_STREAM, END_HEADERS = 0x1, 0x4
FRAME_BYTES = 16_000


async def body_of(path: str) -> bytes | None:
    """The body of a normal response, when it is due; None if the response must be malformed."""
    split = urlsplit(path)
    if split.path.startswith("/malformed/"):
        return None
    if split.path == "/delay":
        await asyncio.sleep(float(parse_qs(split.query)["ms"][0]) / 1000)
    return b"ok"


async def serve_http1(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer requests one after another."""
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)^content-length: *(\d+)", head, re.MULTILINE)
            await reader.readexactly(int(length[1]) if length else 0)
        except (asyncio.IncompleteReadError, ConnectionError):
            break
        path = head.split(b" ", 2)[1].decode("latin-1")
        if await body_of(path) is None:
            seed, number = re.findall(r"\d+", path)
            writer.write(malformed.response(int(seed), int(number)))
        else:
            writer.write(OK)
    writer.close()


class Http2Connection:
    """One HTTP/2 connection. h2 keeps its state; bad headers are encoded past its checks."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        config = h2.config.H2Configuration(client_side=False)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        """Send what h2 has prepared."""
        self.writer.write(self.h2.data_to_send())

    def receive(self, data: bytes) -> list[tuple[int, str]]:
        """The streams and paths of the requests that have arrived."""
        requests = []
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                path = dict(event.headers)[b":path"].decode("latin-1")
                requests.append((event.stream_id, path))
            elif isinstance(event, h2.events.DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        self.flush()
        return requests

    async def answer(self, stream: int, path: str) -> None:
        """Send the response to one request."""
        body = await body_of(path)
        if body is None:
            number = int(re.findall(r"\d+", path)[-1])
            self.send_unchecked(stream, BAD_HEADERS[number % len(BAD_HEADERS)])
            return
        # Also what grpc.health.v1 expects: SERVING in a message, then the status.
        self.h2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        self.h2.send_data(stream, SERVING if path.endswith("/Check") else body)
        self.h2.send_headers(stream, [("grpc-status", "0")], end_stream=True)
        self.flush()

    def send_unchecked(self, stream: int, headers: Headers) -> None:
        """Send literals that are never indexed, so they change no state of the peer's decoder."""
        encoder = Encoder()
        block = b"".join(encoder.encode([(*header, True)], huffman=False) for header in headers)
        pieces = [block[at : at + FRAME_BYTES] for at in range(0, len(block), FRAME_BYTES)] or [b""]
        for index, piece in enumerate(pieces):
            kind, flags = (CONTINUATION, 0) if index else (HEADERS, END_STREAM)
            flags |= END_HEADERS if piece is pieces[-1] else 0
            size = struct.pack(">I", len(piece))[1:]
            self.writer.write(size + bytes((kind, flags)) + struct.pack(">I", stream) + piece)


async def serve_http2(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer all streams of one connection."""
    connection = Http2Connection(writer)
    async with asyncio.TaskGroup() as tasks:
        while data := await reader.read(65_536):
            for stream, path in connection.receive(data):
                tasks.create_task(connection.answer(stream, path))


async def main() -> None:
    """Listen until the process is terminated."""
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
    serve = serve_http2 if os.environ.get("SPEAKS") == "h2" else serve_http1
    server = await asyncio.start_server(serve, "127.0.0.1", int(os.environ["PORT"]), limit=1 << 20)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
