"""An OTLP/gRPC collector that counts the spans it is sent and forgets them, in a process of its own.

`python -m bench.sink` prints its port; at the end of its stdin it prints how many spans came.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp

SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"


@dataclass
class Collected:
    """What a sink got; `spans` is set when it has ended."""

    port: int
    spans: int = 0


@contextmanager
def sink() -> Iterator[Collected]:
    """A sink that runs; `spans` is known afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.sink"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    collected = Collected(int(process.stdout.readline()))
    try:
        yield collected
    finally:
        rest, _ = process.communicate("", timeout=20)
        collected.spans = int(rest)


async def main() -> None:
    """Listen until stdin ends."""
    count = 0

    async def export(request: otlp.ExportTraceServiceRequest, _: object) -> bytes:
        nonlocal count
        count += sum(
            len(scope.spans)
            for resource_span in request.resource_spans
            for scope in resource_span.scope_spans
        )
        return b""

    method = grpc.unary_unary_rpc_method_handler(export, otlp.ExportTraceServiceRequest.FromString)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Export": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(1)
    print(count, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
