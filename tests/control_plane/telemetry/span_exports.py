"""OTLP exports of spans."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status


@dataclass(frozen=True)
class SpanSpec:
    """A span to send; `start` and `end` in milliseconds since BASE_MS."""

    trace: int
    id: int
    parent: int = 0
    name: str = "GET /"
    start: int = 0
    end: int = 10
    failed: bool = False
    kind: int = 2
    attributes: dict[str, str] = field(default_factory=dict)


BASE_MS = 1_790_000_000_000
"""Milliseconds since the epoch."""


def span_export(service: str, spans: Iterable[SpanSpec], instance: str = "", base_ms: int = BASE_MS) -> bytes:
    """An export with spans of one service. `base_ms` stands for BASE_MS where times must be recent."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = service
    if instance:
        resource.resource.attributes.add(key="service.instance.id").value.string_value = instance
    scope = resource.scope_spans.add()
    for spec in spans:
        span = scope.spans.add(
            trace_id=spec.trace.to_bytes(16, "big"),
            span_id=spec.id.to_bytes(8, "big"),
            parent_span_id=spec.parent.to_bytes(8, "big") if spec.parent else b"",
            name=spec.name,
            kind=spec.kind,
            start_time_unix_nano=(base_ms + spec.start) * 1_000_000,
            end_time_unix_nano=(base_ms + spec.end) * 1_000_000,
        )
        if spec.failed:
            span.status.code = Status.STATUS_CODE_ERROR
        for key, value in spec.attributes.items():
            span.attributes.add(key=key).value.string_value = value
    return request.SerializeToString()
