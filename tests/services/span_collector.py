"""An OTLP receiver for the spans of services."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as otlp_grpc


class SpanCollector(otlp_grpc.TraceServiceServicer):
    """Stores (service, span). `environ` makes a service send its spans here, soon."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Any]] = []
        self.environ: dict[str, str] = {"OTEL_BSP_SCHEDULE_DELAY": "100"}

    def Export(
        self, request: otlp.ExportTraceServiceRequest, context: Any
    ) -> otlp.ExportTraceServiceResponse:
        for resource in request.resource_spans:
            attributes = {item.key: item.value.string_value for item in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans.extend((attributes["service.name"], span) for span in scope.spans)
        return otlp.ExportTraceServiceResponse()

    def trace_of(self, service: str, name: str) -> list[tuple[str, Any]]:
        """All spans in the trace of the only span that a service has by that name."""
        [root] = [span for reporter, span in self.spans if (reporter, span.name) == (service, name)]
        return [(reporter, span) for reporter, span in self.spans if span.trace_id == root.trace_id]


@contextmanager
def span_collector() -> Iterator[SpanCollector]:
    """A collector on a free port."""
    collector = SpanCollector()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    otlp_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    collector.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{port}"
    server.start()
    try:
        yield collector
    finally:
        server.stop(None)


def attributes(span: Any) -> dict[str, Any]:
    """The attributes of a span or of its event, whatever their type."""
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in span.attributes}
