"""The newest failed request of a service or edge, with the span in which it failed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from operator import methodcaller

from meshwright.control_plane.api.models.traces import Span, Trace
from meshwright.tui.features.traces.failed_request import failed_requests, failed_span
from meshwright.tui.graph.graph import Link
from meshwright.tui.session import Session

FAILED_REQUEST_LIMIT, TRACE_ATTEMPTS = 50, 10
"""Failed requests that are fetched, and how many of their traces are searched for a failed span."""


async def newest_failure(session: Session, name: str, link: Link | None) -> tuple[Trace, Span] | None:
    """The trace of the newest failed request, and its failed span; None: no such trace is stored."""
    async for trace in _failed_traces(session, name, link):
        span = failed_span(trace, name, link)
        if span is not None:
            return trace, span
    return None


async def _failed_traces(session: Session, name: str, link: Link | None) -> AsyncIterator[Trace]:
    """Traces of failed requests: first those of the proxies' request logs, then those found by spans."""
    reporter = link[0] if link else name
    requests = await session.call(
        lambda client: client.requests(service=reporter, errors=True, limit=FAILED_REQUEST_LIMIT),
        quiet=True,
    )
    ids = [request.trace for request in failed_requests(requests or (), name, link)]
    summaries = await session.call(
        lambda client: client.traces(service=reporter, errors=True, limit=FAILED_REQUEST_LIMIT),
        quiet=True,
    )
    ids += [summary.id for summary in summaries or ()]
    for id in list(dict.fromkeys(ids))[:TRACE_ATTEMPTS]:
        trace = await session.call(methodcaller("trace", id), quiet=True)
        if trace is not None:
            yield trace
