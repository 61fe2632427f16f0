"""A trace's spans as a tree, in the order in which people read it, and what follows from the tree."""

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
from meshwright.control_plane.telemetry.traces.span import PROXY_ATTRIBUTE, StoredSpan, decode_details

ATTEMPT_ATTRIBUTE = "retry.count"
"""Envoy's attribute of a try that is not the first: how many came before."""

NODE_ATTRIBUTE = "node_id"
"""Envoy's attribute of the node, in spans of requests that it took in."""

_SECOND, _MILLISECOND = 1e9, 1e6


def build_summary(id: bytes, rows: Sequence[StoredSpan]) -> TraceSummary:
    """A trace in one line; `rows` are its spans, at least one."""
    return TraceSummary.model_validate(_summary(id, rows))


def build_trace(id: bytes, rows: Sequence[StoredSpan], dropped: int) -> Trace:
    """A trace whole; `dropped` of its spans are missing."""
    told = tuple(_span(row, depth) for row, depth in depth_first(rows))
    return Trace(**_summary(id, rows), tree=told, dropped=dropped)


def depth_first(rows: Sequence[StoredSpan]) -> Iterator[tuple[StoredSpan, int]]:
    """Every span once, each after its parent, siblings by their start; with its depth.

    Spans without a parent here begin a tree; a ring of spans is cut where it starts earliest.
    """
    by_id = {row.id: row for row in rows}
    children: dict[bytes, list[StoredSpan]] = {}
    by_start = sorted(rows, key=lambda row: (row.start, -row.end))
    for row in by_start:
        children.setdefault(row.parent, []).append(row)
    roots = [row for row in by_start if row.parent not in by_id]
    seen: set[int] = set()
    for root in (*roots, *by_start):
        waiting = [(root, 0)]
        while waiting:
            row, depth = waiting.pop()
            if id(row) in seen:
                continue
            seen.add(id(row))
            yield row, depth
            waiting += [(child, depth + 1) for child in reversed(children.get(row.id, ()))]


class CallLink(NamedTuple):
    """What of a span says who called whom."""

    trace: bytes
    id: bytes
    parent: bytes
    service: str

    @classmethod
    def from_span(cls, row: StoredSpan) -> CallLink:
        """Of a span that is kept."""
        return cls(row.trace, row.id, row.parent, row.service)


def dependencies(links: Iterable[CallLink]) -> tuple[ServiceDependency, ...]:
    """Who called whom how often: every span whose parent is another service's is a call. Sorted."""
    known = dict.fromkeys(links)
    owners = {(one.trace, one.id): one.service for one in known}
    calls = Counter((owners.get((one.trace, one.parent), one.service), one.service) for one in known)
    found = sorted(((caller, callee), count) for (caller, callee), count in calls.items() if caller != callee)
    return tuple(ServiceDependency(caller=a, callee=b, count=count) for (a, b), count in found)


def _summary(id: bytes, rows: Sequence[StoredSpan]) -> dict[str, object]:
    known = {row.id for row in rows}
    roots = [row for row in rows if row.parent not in known] or rows
    root = min(roots, key=lambda row: (row.start, -row.end))
    start = min(row.start for row in rows)
    spans = Counter(row.service for row in rows)
    failed = Counter(row.service for row in rows if row.error)
    return {
        "id": id.hex(),
        "service": root.service,
        "operation": root.operation,
        "request": _request(decode_details(root).attributes),
        "start": start / _SECOND,
        "duration": (max(row.end for row in rows) - start) / _MILLISECOND,
        "spans": len(rows),
        "errors": failed.total(),
        "services": tuple(
            ServiceSpanCount(service=service, spans=count, errors=failed[service])
            for service, count in sorted(spans.items())
        ),
    }


def _span(row: StoredSpan, depth: int) -> Span:
    rest = decode_details(row)
    return Span(
        id=row.id.hex(),
        parent=row.parent.hex(),
        depth=depth,
        service=row.service,
        instance=row.instance or rest.attributes.get(NODE_ATTRIBUTE, ""),
        proxy=rest.attributes.get(PROXY_ATTRIBUTE[0]) == PROXY_ATTRIBUTE[1],
        operation=row.operation,
        kind=row.kind,
        start=row.start / _SECOND,
        duration=row.duration / _MILLISECOND,
        error=row.error,
        message=rest.message,
        attempt=_attempt(rest.attributes),
        flags=response_flags.describe(rest.attributes.get(response_flags.SPAN_ATTRIBUTE, "")),
        attributes=rest.attributes,
        events=tuple(
            SpanEvent(time=event.time / _SECOND, name=event.name, attributes=event.attributes)
            for event in rest.events
        ),
    )


def _request(attributes: Mapping[str, str]) -> str:
    """Method and path of a request that Envoy took in; empty where it is not told."""
    found = re.fullmatch(r"(?:[a-z+.-]+://[^/?#]*)?([^?#]*).*", attributes.get("http.url", ""), re.DOTALL)
    path = found[1] if found else ""
    return f"{attributes.get('http.method', '')} {path}".strip()


def _attempt(attributes: Mapping[str, str]) -> int:
    value = attributes.get(ATTEMPT_ATTRIBUTE, "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 6 else 0
