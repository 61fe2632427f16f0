"""Query strings are left out of spans, as sidecars leave them out of theirs: they may hold secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.util.types import AttributeValue

URL_ATTRIBUTES = ("http.url", "http.target", "url.full", "url.original")
"""Attributes that hold a URL or a path, by OpenTelemetry's older and newer names."""

QUERY_ATTRIBUTE = "url.query"


class QueryRedactor(SpanExporter):
    """Exports spans without their query strings by another exporter."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export the spans."""
        return self._exporter.export([_redacted(span) for span in spans])

    def shutdown(self) -> None:
        """Shut the other exporter down."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush the other exporter."""
        return self._exporter.force_flush(timeout_millis)


def redact(attributes: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    """The attributes without query strings."""
    result = {name: value for name, value in attributes.items() if name != QUERY_ATTRIBUTE}
    for name in URL_ATTRIBUTES:
        value = result.get(name)
        if isinstance(value, str):
            result[name] = value.partition("?")[0]
    return result


def _redacted(span: ReadableSpan) -> ReadableSpan:
    attributes = span.attributes or {}
    redacted = redact(attributes)
    if redacted == attributes:
        return span
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=redacted,
        events=span.events,
        links=span.links,
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )
