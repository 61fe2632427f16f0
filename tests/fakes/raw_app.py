"""A server that shows each request byte for byte and responds with any bytes that a request asks for.

Its response is `{"head", "body", "trailers"}`: the head as it arrived, the SHA-256 of the body, the trailers.
It prints the same as a line of JSON. With a header `x-respond: BASE64` it sends these bytes. A request
with `Expect: 100-continue` and `x-continue: no` gets 417 without 100. It listens on `PORT` at `HOST`
(127.0.0.1).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import re

HEAD_LIMIT = 1 << 20


def _header(head: str, name: str) -> str:
    match = re.search(rf"^{name}:[ \t]*(.*?)[ \t]*\r?$", head, re.MULTILINE | re.IGNORECASE)
    return match[1] if match else ""


async def _chunked(reader: asyncio.StreamReader) -> tuple[bytes, list[str]]:
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    trailers = []
    while (line := await reader.readline()) not in (b"\r\n", b""):
        trailers.append(line.decode("latin-1").strip())
    return body, trailers


async def _respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Handle one request. Returns whether the connection stays open."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    if _header(head, "expect"):
        if _header(head, "x-continue") == "no":
            writer.write(b"HTTP/1.1 417 Expectation Failed\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            return False
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body, trailers = b"", list[str]()
    if "chunked" in _header(head, "transfer-encoding"):
        body, trailers = await _chunked(reader)
    elif length := _header(head, "content-length"):
        body = await reader.readexactly(int(length))
    seen = {"head": head, "body": hashlib.sha256(body).hexdigest(), "trailers": trailers}
    print(json.dumps(seen), flush=True)  # noqa: T201
    if planned := _header(head, "x-respond"):
        writer.write(base64.b64decode(planned))
        return False
    text = json.dumps(seen).encode()
    if head.startswith("HEAD "):
        text, length = b"", str(len(text))
    else:
        length = str(len(text))
    writer.write(b"HTTP/1.1 200 OK\r\nserver: raw\r\ncontent-length: " + length.encode() + b"\r\n\r\n" + text)
    return True


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while await _respond(reader, writer):
            await writer.drain()
        await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main() -> None:
    """Serve until the process ends."""
    host, port = os.environ.get("HOST", "127.0.0.1"), int(os.environ["PORT"])
    server = await asyncio.start_server(_serve, host, port, limit=HEAD_LIMIT)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
