"""A trace as a tree of spans, in reading order, and what follows from the tree."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from meshwright.control_plane.api.models.traces import (
    ServiceDependency,
    ServiceSpanCount,
    Span,
    SpanEvent,
    Trace,
    TraceSummary,
)
from meshwright.control_plane.telemetry.requests import response_flags
from meshwright.control_plane.telemetry.traces.nesting import nest
from meshwright.control_plane.telemetry.traces.span import PROXY_ATTRIBUTE, StoredSpan, decode_details

ATTEMPT_ATTRIBUTE = "retry.count"
"""Envoy's attribute of an attempt after the first one: the number of attempts before it."""

NODE_ATTRIBUTE = "node_id"
"""Envoy's attribute of its node, in spans of requests it received."""

_SECOND, _MILLISECOND = 1e9, 1e6


def build_summary(id: bytes, spans: Sequence[StoredSpan]) -> TraceSummary:
    """A trace in one line. There must be at least one span."""
    return TraceSummary.model_validate(_summary(id, spans))


def build_trace(id: bytes, spans: Sequence[StoredSpan], dropped: int) -> Trace:
    """A trace with all its spans, of which `dropped` are missing."""
    attempts: Counter[bytes] = Counter()
    tree = []
    for span, depth in depth_first(tuple(nest(spans))):
        is_attempt = span.proxy and span.kind == "client"
        tree.append(_span(span, depth, attempts[span.parent] if is_attempt else 0))
        attempts[span.parent] += is_attempt
    return Trace(**_summary(id, spans), tree=tuple(tree), dropped=dropped)


def depth_first(spans: Sequence[StoredSpan]) -> Iterator[tuple[StoredSpan, int]]:
    """Every span once with its depth: parents before children, siblings by start.

    A span whose parent is missing is a root; a cycle is cut at the span that starts first.
    """
    by_id = {span.id: span for span in spans}
    children: dict[bytes, list[StoredSpan]] = {}
    by_start = sorted(spans, key=lambda span: (span.start, -span.end))
    for span in by_start:
        children.setdefault(span.parent, []).append(span)
    roots = [span for span in by_start if span.parent not in by_id]
    visited: set[int] = set()
    for root in (*roots, *by_start):
        stack = [(root, 0)]
        while stack:
            span, depth = stack.pop()
            if id(span) in visited:
                continue
            visited.add(id(span))
            yield span, depth
            stack += [(child, depth + 1) for child in reversed(children.get(span.id, ()))]


class CallLink(NamedTuple):
    """The parts of a span that show a call between services."""

    trace: bytes
    id: bytes
    parent: bytes
    service: str

    @classmethod
    def from_span(cls, span: StoredSpan) -> CallLink:
        """The link of a stored span."""
        return cls(span.trace, span.id, span.parent, span.service)


def dependencies(links: Iterable[CallLink]) -> tuple[ServiceDependency, ...]:
    """How often each service called another: a call is a span whose parent is another service's. Sorted."""
    unique = dict.fromkeys(links)
    services = {(link.trace, link.id): link.service for link in unique}
    calls = Counter((services.get((link.trace, link.parent), link.service), link.service) for link in unique)
    return tuple(
        ServiceDependency(caller=caller, callee=callee, count=count)
        for (caller, callee), count in sorted(calls.items())
        if caller != callee
    )


def _summary(id: bytes, spans: Sequence[StoredSpan]) -> dict[str, object]:
    ids = {span.id for span in spans}
    roots = [span for span in spans if span.parent not in ids] or spans
    root = min(roots, key=lambda span: (span.start, -span.end))
    start = min(span.start for span in spans)
    counts = Counter(span.service for span in spans)
    errors = Counter(span.service for span in spans if span.error)
    return {
        "id": id.hex(),
        "service": root.service,
        "operation": root.operation,
        "request": _request(decode_details(root).attributes),
        "start": start / _SECOND,
        "duration": (max(span.end for span in spans) - start) / _MILLISECOND,
        "spans": len(spans),
        "errors": errors.total(),
        "services": tuple(
            ServiceSpanCount(service=service, spans=count, errors=errors[service])
            for service, count in sorted(counts.items())
        ),
    }


def _span(span: StoredSpan, depth: int, earlier: int) -> Span:
    """`earlier`: the number of stored attempts of the same request before this one."""
    details = decode_details(span)
    attributes = details.attributes
    return Span(
        id=span.id.hex(),
        parent=span.parent.hex(),
        depth=depth,
        service=span.service,
        instance=span.instance or attributes.get(NODE_ATTRIBUTE, ""),
        proxy=attributes.get(PROXY_ATTRIBUTE[0]) == PROXY_ATTRIBUTE[1],
        operation=span.operation,
        kind=span.kind,
        start=span.start / _SECOND,
        duration=span.duration / _MILLISECOND,
        error=span.error,
        message=details.message,
        attempt=_attempt(attributes) or earlier,
        flags=response_flags.describe(attributes.get(response_flags.SPAN_ATTRIBUTE, "")),
        attributes=attributes,
        events=tuple(
            SpanEvent(time=event.time / _SECOND, name=event.name, attributes=event.attributes)
            for event in details.events
        ),
    )


def _request(attributes: Mapping[str, str]) -> str:
    """Method and path of a request that Envoy received; empty if the span has neither."""
    match = re.fullmatch(r"(?:[a-z+.-]+://[^/?#]*)?([^?#]*).*", attributes.get("http.url", ""), re.DOTALL)
    path = match[1] if match else ""
    return f"{attributes.get('http.method', '')} {path}".strip()


def _attempt(attributes: Mapping[str, str]) -> int:
    value = attributes.get(ATTEMPT_ATTRIBUTE, "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 6 else 0
