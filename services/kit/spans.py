"""Spans of calls to databases and brokers, inside the trace of what they are done for.

Background loops ask their database and broker twice a second. Without a trace to belong to, such a call gets
no span: it would be a trace of its own that says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.util.types import AttributeValue

tracer = trace.get_tracer("meshwright.services.kit.spans")


@contextmanager
def client_span(name: str, attributes: Mapping[str, AttributeValue]) -> Iterator[None]:
    """A span of a call to a store, if there is a trace. An error that the call raises is recorded in it."""
    if not trace.get_current_span().get_span_context().is_valid:
        yield
        return
    with tracer.start_as_current_span(name, kind=trace.SpanKind.CLIENT, attributes=attributes):
        yield


def record_failure(span: trace.Span, error: BaseException) -> None:
    """Record an error that is handled, so that its span has failed all the same."""
    span.record_exception(error)
    span.set_status(trace.StatusCode.ERROR, str(error) or type(error).__name__)
