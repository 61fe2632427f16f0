"""Whether a stored span matches a query for traces."""

from __future__ import annotations

from meshwright.control_plane.api.models.traces import TraceQuery
from meshwright.control_plane.telemetry.traces.span import StoredSpan


def matches_any_span(query: TraceQuery) -> bool:
    """Whether every span matches: the query asks for nothing but the time of the trace."""
    return query == TraceQuery(start=query.start, end=query.end)


def matches_span(span: StoredSpan, query: TraceQuery) -> bool:
    """Whether a span matches everything but the time of the trace."""
    return (
        (not query.service or span.service == query.service)
        and (not query.operation or span.operation == query.operation)
        and span.duration >= query.min_duration
        and (not query.max_duration or span.duration <= query.max_duration)
        and (span.error or not query.errors)
    )
