"""A collector of traces: the official OTLP/gRPC service, keeping what it is sent."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass
class Collector(service.TraceServiceServicer):
    """Listens on 127.0.0.1:`port`. `spans` are (service name, span) in the order they came."""

    port: int = 0
    spans: list[tuple[str, Span]] = field(default_factory=list)

    @property
    def address(self) -> str:
        """`host:port`, as MESH_OTLP takes it."""
        return f"127.0.0.1:{self.port}"

    def of(self, trace: str) -> list[tuple[str, Span]]:
        """The spans of one trace, by its id in hexadecimal."""
        return [(name, span) for name, span in self.spans if span.trace_id.hex() == trace]

    def Export(
        self, request: messages.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> messages.ExportTraceServiceResponse:
        """Keep the spans of one request."""
        for resource in request.resource_spans:
            attributes = {one.key: one.value.string_value for one in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += ((attributes.get("service.name", ""), span) for span in scope.spans)
        return messages.ExportTraceServiceResponse()


@contextmanager
def collector() -> Iterator[Collector]:
    """A running collector on a free port."""
    found = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    service.add_TraceServiceServicer_to_server(found, server)  # type: ignore[no-untyped-call]
    found.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield found
    finally:
        server.stop(0).wait()
