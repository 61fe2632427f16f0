"""A TCP test application for a sidecar: it greets first, if configured, then echoes every line.

`python -m tests.fakes.tcp_app` listens on `PORT` as `INSTANCE`. With `GREETING` set the server
speaks first, as in MySQL and SMTP: `GREETING NAME`. Every line is echoed as `NAME: LINE`.
"""

from __future__ import annotations

import asyncio
import os
import signal


async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one connection until the client closes it."""
    name = os.environ["INSTANCE"]
    greeting = os.environ.get("GREETING", "")
    if greeting:
        writer.write(f"{greeting} {name}\n".encode())
    while line := await reader.readline():
        writer.write(f"{name}: ".encode() + line)
        await writer.drain()
    writer.close()


async def serve(port: int) -> None:
    """Listen on loopback until SIGTERM or SIGINT."""
    server = await asyncio.start_server(converse, "127.0.0.1", port)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(int(os.environ["PORT"])))
