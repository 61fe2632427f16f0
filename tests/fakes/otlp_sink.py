"""A collector on the official OTLP/gRPC services that can stop, refuse calls, and count what it receives."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc as logs_service
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_service
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as trace_service
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from tests.fakes.ports import free_port


@dataclass(frozen=True)
class Refusal:
    """The failure of one call; `retry_delay` in seconds is sent as RetryInfo."""

    code: grpc.StatusCode
    retry_delay: float | None = None


@dataclass
class OtlpSink:
    """Listens on 127.0.0.1:`port` between `start` and `stop`. The first calls get the `refusals`, one each.

    `spans` counts span IDs, `points` the values of data points, `records` bodies of log records, `senders`
    resources as `traces orders`.
    """

    port: int = field(default_factory=free_port)
    credentials: grpc.ServerCredentials | None = None
    unimplemented: frozenset[str] = frozenset()
    spans: Counter[int] = field(default_factory=Counter)
    points: Counter[int] = field(default_factory=Counter)
    records: Counter[str] = field(default_factory=Counter)
    senders: Counter[str] = field(default_factory=Counter)
    headers: dict[str, str] = field(default_factory=dict)
    refusals: deque[Refusal] = field(default_factory=deque)
    reject_next: int = 0
    calls: int = 0
    _server: grpc.Server | None = None

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen."""
        options = (("grpc.so_reuseport", 0),)
        self._server = grpc.server(ThreadPoolExecutor(2), options=options)
        if "traces" not in self.unimplemented:
            trace_service.add_TraceServiceServicer_to_server(_Traces(self), self._server)  # type: ignore[no-untyped-call]
        if "metrics" not in self.unimplemented:
            metrics_service.add_MetricsServiceServicer_to_server(_Metrics(self), self._server)  # type: ignore[no-untyped-call]
        if "logs" not in self.unimplemented:
            logs_service.add_LogsServiceServicer_to_server(_Logs(self), self._server)  # type: ignore[no-untyped-call]
        if self.credentials is None:
            self._server.add_insecure_port(self.address)
        else:
            self._server.add_secure_port(self.address, self.credentials)
        self._server.start()

    def stop(self) -> None:
        """Stop after the calls in flight."""
        if self._server is not None:
            self._server.stop(1).wait()
            self._server = None

    def begin_call(self, context: grpc.ServicerContext) -> int:
        """Refuse the call if a refusal is due; otherwise return how many items to reject."""
        self.calls += 1
        metadata: Any = context.invocation_metadata()
        self.headers = {header.key: header.value for header in metadata}
        if self.refusals:
            self._refuse(self.refusals.popleft(), context)
        rejected, self.reject_next = self.reject_next, 0
        return rejected

    def count_sender(self, signal: str, resource: Resource) -> None:
        """Count the sender of a resource."""
        names = [
            attribute.value.string_value
            for attribute in resource.attributes
            if attribute.key == "service.name"
        ]
        self.senders[f"{signal} {','.join(names)}"] += 1

    def _refuse(self, refusal: Refusal, context: grpc.ServicerContext) -> None:
        if refusal.retry_delay is not None:
            status = Status(code=refusal.code.value[0], message="later")
            seconds = int(refusal.retry_delay)
            delay = Duration(seconds=seconds, nanos=int((refusal.retry_delay - seconds) * 1e9))
            status.details.add().Pack(RetryInfo(retry_delay=delay))
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(refusal.code, "not now")


class _Traces(trace_service.TraceServiceServicer):
    def __init__(self, sink: OtlpSink) -> None:
        self.sink = sink

    def Export(
        self, request: traces.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> traces.ExportTraceServiceResponse:
        rejected = self.sink.begin_call(context)
        for resource in request.resource_spans:
            self.sink.count_sender("traces", resource.resource)
            spans = [span for scope in resource.scope_spans for span in scope.spans]
            self.sink.spans.update(int.from_bytes(span.span_id, "big") for span in spans)
        response = traces.ExportTraceServiceResponse()
        if rejected:
            response.partial_success.rejected_spans = rejected
            response.partial_success.error_message = "too old"
        return response


class _Metrics(metrics_service.MetricsServiceServicer):
    def __init__(self, sink: OtlpSink) -> None:
        self.sink = sink

    def Export(
        self, request: metrics.ExportMetricsServiceRequest, context: grpc.ServicerContext
    ) -> metrics.ExportMetricsServiceResponse:
        self.sink.begin_call(context)
        for resource in request.resource_metrics:
            self.sink.count_sender("metrics", resource.resource)
            for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                for point in getattr(metric, metric.WhichOneof("data") or "").data_points:
                    self.sink.points[point.count if metric.HasField("histogram") else point.as_int] += 1
        return metrics.ExportMetricsServiceResponse()


class _Logs(logs_service.LogsServiceServicer):
    def __init__(self, sink: OtlpSink) -> None:
        self.sink = sink

    def Export(
        self, request: logs.ExportLogsServiceRequest, context: grpc.ServicerContext
    ) -> logs.ExportLogsServiceResponse:
        self.sink.begin_call(context)
        for resource in request.resource_logs:
            self.sink.count_sender("logs", resource.resource)
            records = [record for scope in resource.scope_logs for record in scope.log_records]
            self.sink.records.update(record.body.string_value for record in records)
        return logs.ExportLogsServiceResponse()


@contextmanager
def otlp_sink(**fields: Any) -> Iterator[OtlpSink]:
    """A running sink."""
    sink = OtlpSink(**fields)
    sink.start()
    try:
        yield sink
    finally:
        sink.stop()
