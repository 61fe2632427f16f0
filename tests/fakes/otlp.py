"""A collector of traces and metrics: the official OTLP/gRPC services, keeping what they are sent."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_service
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass
class TraceCollector(service.TraceServiceServicer):
    """Listens on 127.0.0.1:`port`. `spans` are (service name, span) in the order they came."""

    port: int = 0
    spans: list[tuple[str, Span]] = field(default_factory=list)

    @property
    def address(self) -> str:
        """`host:port`, as MESH_OTLP takes it."""
        return f"127.0.0.1:{self.port}"

    def of_trace(self, trace: str) -> list[tuple[str, Span]]:
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


@dataclass
class MetricsCollector(metrics_service.MetricsServiceServicer):
    """Adds up the counters and the histograms' counts that it is sent as deltas.

    `seen` is replaced by a new one at each request, so that nobody sees one of which a part is added.
    """

    resources: list[dict[str, str]] = field(default_factory=list)
    totals: dict[tuple[str, str, str], int] = field(default_factory=dict)
    bounds: set[tuple[float, ...]] = field(default_factory=set)
    temporalities: set[int] = field(default_factory=set)
    _lock: Lock = field(default_factory=Lock)

    def Export(
        self, request: metrics.ExportMetricsServiceRequest, context: grpc.ServicerContext
    ) -> metrics.ExportMetricsServiceResponse:
        """Add up one request."""
        with self._lock:
            self._add(request)
        return metrics.ExportMetricsServiceResponse()

    def _add(self, request: metrics.ExportMetricsServiceRequest) -> None:
        seen = dict(self.totals)
        for resource in request.resource_metrics:
            self.resources.append({one.key: one.value.string_value for one in resource.resource.attributes})
            for metric in (one for scope in resource.scope_metrics for one in scope.metrics):
                data = getattr(metric, metric.WhichOneof("data") or "")
                for point in data.data_points:
                    found = {one.key: one.value.string_value for one in point.attributes}
                    code = found.get("envoy.response_code_class", "") or found.get("mesh.grpc_status", "")
                    key = (found.get("envoy.cluster_name", ""), metric.name, code)
                    if metric.HasField("gauge"):
                        seen[key] = point.as_int
                        continue
                    self.temporalities.add(data.aggregation_temporality)
                    if metric.HasField("histogram"):
                        self.bounds.add(tuple(point.explicit_bounds))
                    value = point.count if metric.HasField("histogram") else point.as_int
                    seen[key] = seen.get(key, 0) + value
        self.totals = seen

    def of_cluster(self, cluster: str) -> dict[str, int]:
        """What was counted of a cluster, by name; `.2` after it is a class of answers, or a gRPC status."""
        prefix = "cluster."
        return {
            f"{name.removeprefix(prefix)}{'.' + code if code else ''}": count
            for (whose, name, code), count in self.totals.items()
            if whose == cluster
        }


@contextmanager
def metrics_collector() -> Iterator[tuple[MetricsCollector, int]]:
    """A running collector of metrics, and its port."""
    found = MetricsCollector()
    server = grpc.server(ThreadPoolExecutor(2))
    metrics_service.add_MetricsServiceServicer_to_server(found, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield found, port
    finally:
        server.stop(0).wait()


@contextmanager
def trace_collector() -> Iterator[TraceCollector]:
    """A running collector on a free port."""
    found = TraceCollector()
    server = grpc.server(ThreadPoolExecutor(2))
    service.add_TraceServiceServicer_to_server(found, server)  # type: ignore[no-untyped-call]
    found.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield found
    finally:
        server.stop(0).wait()
