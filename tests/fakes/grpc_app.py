"""A gRPC test application for a sidecar: it echoes, fails, delays, streams and counts on request.

`python -m tests.fakes.grpc_app` listens on `PORT` as `INSTANCE`. Requests and responses of
the service `fake.Echo` are JSON as bytes:

```
Echo    {"delay": 0.5, "fail": "UNAVAILABLE", "at": "echo-1"} → {"name", "metadata"}; with `at` only
        that instance delays or fails
Stream  {"seconds": 60, "every": 0.5} → a number every `every` seconds, then "end"; with `size` each message
        has that many bytes
Collect a stream of messages → all of them, joined by commas
Both    a stream of messages → each message, prefixed with the name
Count   {} → {"Echo": n, ...} since the start
```
It implements gRPC's health service. On SIGTERM calls may finish for at most five seconds.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc

Context = grpc.aio.ServicerContext[bytes, bytes]

_SERVING = b"\x08\x01"  # grpc.health.v1.HealthCheckResponse{status: SERVING}, encoded


class Echo:
    """The state of one application: its name and its counts."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.counts: Counter[str] = Counter()

    async def echo(self, request: bytes, context: Context) -> bytes:
        self.counts["Echo"] += 1
        options: dict[str, Any] = json.loads(request or b"{}")
        if options.get("at", self.name) == self.name:
            await asyncio.sleep(options.get("delay", 0))
            if "fail" in options:
                await context.abort(grpc.StatusCode[options["fail"]], "as requested")
        metadata = {str(key): str(value) for key, value in context.invocation_metadata() or ()}
        return json.dumps({"name": self.name, "metadata": metadata}).encode()

    async def stream(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        self.counts["Stream"] += 1
        options = json.loads(request)
        for number in range(round(options["seconds"] / options["every"])):
            yield str(number).encode().ljust(options.get("size", 0))
            await asyncio.sleep(options["every"])
        yield b"end"

    async def both(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        self.counts["Both"] += 1
        async for message in requests:
            yield self.name.encode() + b": " + message

    async def collect(self, requests: AsyncIterator[bytes], context: Context) -> bytes:
        self.counts["Collect"] += 1
        return b",".join([message async for message in requests])

    async def count(self, request: bytes, context: Context) -> bytes:
        return json.dumps(self.counts).encode()


async def _healthy(request: bytes, context: Context) -> bytes:
    return _SERVING


async def serve(name: str, port: int) -> None:
    """Listen on loopback until SIGTERM or SIGINT."""
    echo = Echo(name)
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    handlers = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo.echo),
        "Stream": grpc.unary_stream_rpc_method_handler(echo.stream),
        "Collect": grpc.stream_unary_rpc_method_handler(echo.collect),
        "Both": grpc.stream_stream_rpc_method_handler(echo.both),
        "Count": grpc.unary_unary_rpc_method_handler(echo.count),
    }
    health = {"Check": grpc.unary_unary_rpc_method_handler(_healthy)}
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler("fake.Echo", handlers),
            grpc.method_handlers_generic_handler("grpc.health.v1.Health", health),
        )
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await server.stop(5)


if __name__ == "__main__":
    asyncio.run(serve(os.environ["INSTANCE"], int(os.environ["PORT"])))
