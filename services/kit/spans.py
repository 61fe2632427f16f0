"""Spans of calls to databases and brokers, inside the trace of what they are done for.

Background loops ask their database and broker twice a second. Without a trace to belong to, such a call gets
no span: it would be a trace of its own that says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.util.types import AttributeValue
from redis.asyncio import Redis
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

MAX_STATEMENT = 500
"""Characters of a statement in a span. Its values are placeholders."""

tracer = trace.get_tracer("meshwright.services.kit.spans")


@contextmanager
def client_span(name: str, attributes: Mapping[str, AttributeValue]) -> Iterator[None]:
    """A span of a call to a store, if there is a trace. An error that the call raises is recorded in it."""
    if not trace.get_current_span().get_span_context().is_valid:
        yield
        return
    with tracer.start_as_current_span(name, kind=trace.SpanKind.CLIENT, attributes=attributes):
        yield


def record_statements(engine: AsyncEngine) -> None:
    """Add each statement of `engine`, without its values, to the span of its transaction."""

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def add(_: Any, __: Any, statement: str, *___: Any) -> None:
        span = trace.get_current_span()
        if span.is_recording():
            span.add_event("statement", {"db.query.text": " ".join(statement.split())[:MAX_STATEMENT]})


class TracedRedis(Redis):
    """A client whose commands have spans. Their arguments are left out: they hold people's data."""

    async def execute_command(self, *arguments: Any, **options: Any) -> Any:
        """Execute a command."""
        command = str(arguments[0])
        with client_span(command, {"db.system.name": "redis", "db.operation.name": command}):
            return await super().execute_command(*arguments, **options)  # type: ignore[no-untyped-call]


def record_failure(span: trace.Span, error: BaseException) -> None:
    """Record an error that is handled, so that its span has failed all the same."""
    span.record_exception(error)
    span.set_status(trace.StatusCode.ERROR, str(error) or type(error).__name__)
