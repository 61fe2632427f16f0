"""An OTLP/gRPC collector in its own process that counts spans, and drops metrics and logs.

`python -m bench.sink` prints its port; when its stdin ends it prints the number of spans.
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

PACKAGE = "opentelemetry.proto.collector"
TRACES = f"{PACKAGE}.trace.v1.TraceService"
OTHERS = (f"{PACKAGE}.metrics.v1.MetricsService", f"{PACKAGE}.logs.v1.LogsService")


@dataclass
class SpanCount:
    """The port of a sink, and the number of spans once it has stopped."""

    port: int
    spans: int = 0


@contextmanager
def sink() -> Iterator[SpanCount]:
    """A running sink."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.sink"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    count = SpanCount(int(process.stdout.readline()))
    try:
        yield count
    finally:
        output, _ = process.communicate("", timeout=20)
        count.spans = int(output)


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

    async def drop(_: bytes, __: object) -> bytes:
        return b""

    spans = grpc.unary_unary_rpc_method_handler(export, otlp.ExportTraceServiceRequest.FromString)
    methods = {TRACES: spans} | dict.fromkeys(OTHERS, grpc.unary_unary_rpc_method_handler(drop))
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(name, {"Export": method}) for name, method in methods.items()]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(1)
    print(count, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
