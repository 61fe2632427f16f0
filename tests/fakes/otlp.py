"""Collectors of traces and metrics on the official OTLP/gRPC services; they keep what they receive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_service
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass
class TraceCollector(service.TraceServiceServicer):
    """Listens on 127.0.0.1:`port`. `spans` are (service name, span) in order of arrival."""

    port: int = 0
    spans: list[tuple[str, Span]] = field(default_factory=list)

    @property
    def address(self) -> str:
        """`host:port`, in the form of MESH_OTLP."""
        return f"127.0.0.1:{self.port}"

    def of_trace(self, trace: str) -> list[tuple[str, Span]]:
        """The spans of one trace, by its id in hexadecimal."""
        return [(name, span) for name, span in self.spans if span.trace_id.hex() == trace]

    def Export(
        self, request: messages.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> messages.ExportTraceServiceResponse:
        """Store the spans of one request."""
        for resource in request.resource_spans:
            attributes = _attributes(resource.resource.attributes)
            for scope in resource.scope_spans:
                self.spans += ((attributes.get("service.name", ""), span) for span in scope.spans)
        return messages.ExportTraceServiceResponse()


@dataclass
class MetricsCollector(metrics_service.MetricsServiceServicer):
    """Sums counters and histogram counts, which arrive as deltas.

    `totals` is replaced at each request, so that a reader never sees half of one.
    """

    resources: list[dict[str, str]] = field(default_factory=list)
    totals: dict[tuple[str, str, str], int] = field(default_factory=dict)
    bounds: set[tuple[float, ...]] = field(default_factory=set)
    temporalities: set[int] = field(default_factory=set)
    _lock: Lock = field(default_factory=Lock)

    def Export(
        self, request: metrics.ExportMetricsServiceRequest, context: grpc.ServicerContext
    ) -> metrics.ExportMetricsServiceResponse:
        """Add one request to the totals."""
        with self._lock:
            self._add(request)
        return metrics.ExportMetricsServiceResponse()

    def _add(self, request: metrics.ExportMetricsServiceRequest) -> None:
        seen = dict(self.totals)
        for resource in request.resource_metrics:
            self.resources.append(_attributes(resource.resource.attributes))
            for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                data = getattr(metric, metric.WhichOneof("data") or "")
                for point in data.data_points:
                    labels = _attributes(point.attributes)
                    code = labels.get("envoy.response_code_class", "") or labels.get("mesh.grpc_status", "")
                    key = (labels.get("envoy.cluster_name", ""), metric.name, code)
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
        """Totals of a cluster by name; a suffix such as `.2` is a response code class or a gRPC status."""
        prefix = "cluster."
        return {
            f"{name.removeprefix(prefix)}{'.' + code if code else ''}": count
            for (cluster_name, name, code), count in self.totals.items()
            if cluster_name == cluster
        }


@contextmanager
def metrics_collector() -> Iterator[tuple[MetricsCollector, int]]:
    """A running collector of metrics, and its port."""
    collector = MetricsCollector()
    server = grpc.server(ThreadPoolExecutor(2))
    metrics_service.add_MetricsServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield collector, port
    finally:
        server.stop(0).wait()


@contextmanager
def trace_collector() -> Iterator[TraceCollector]:
    """A running collector on a free port."""
    collector = TraceCollector()
    server = grpc.server(ThreadPoolExecutor(2))
    service.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    collector.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield collector
    finally:
        server.stop(0).wait()


def _attributes(attributes: Iterable[KeyValue]) -> dict[str, str]:
    return {attribute.key: attribute.value.string_value for attribute in attributes}
