"""OTLP exports of spans for tests."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status


@dataclass(frozen=True)
class SpanSpec:
    """A span to send; `start` and `end` in milliseconds since a moment."""

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


def span_export(service: str, spans: Iterable[SpanSpec]) -> bytes:
    """An export with spans of one service."""
    request = ExportTraceServiceRequest()
    part = request.resource_spans.add()
    told = part.resource.attributes.add(key="service.name")
    told.value.string_value = service
    scope = part.scope_spans.add()
    for one in spans:
        span = scope.spans.add(
            trace_id=one.trace.to_bytes(16, "big"),
            span_id=one.id.to_bytes(8, "big"),
            parent_span_id=one.parent.to_bytes(8, "big") if one.parent else b"",
            name=one.name,
            kind=one.kind,
            start_time_unix_nano=(BASE_MS + one.start) * 1_000_000,
            end_time_unix_nano=(BASE_MS + one.end) * 1_000_000,
        )
        if one.failed:
            span.status.code = Status.STATUS_CODE_ERROR
        for key, value in one.attributes.items():
            span.attributes.add(key=key).value.string_value = value
    return request.SerializeToString()
