"""Puts spans that were made from log records where Envoy's own would be in a trace's tree.

A traced request names the span of the caller's proxy as its parent, on every attempt. So these are siblings:
the attempts, the callee's side of each, and what the callee's app did. The callee's side belongs to the last
attempt that started before it, and the app's work to the call of the app that started before it. (Attempts
that overlap, of a hedged request to several instances, may be exchanged.) Spans of proxies that make all of
them have these parents already.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from meshwright.control_plane.telemetry.traces.span import StoredSpan

CLOCK_SKEW_NS = 5_000_000
"""How far the clocks of caller and callee may differ: an attempt may start that much after its other side."""


@dataclass(slots=True)
class _Siblings:
    """Spans of proxies with one parent, by start: attempts, and those of each service that was called."""

    attempts: list[StoredSpan] = field(default_factory=list)
    received: dict[str, list[StoredSpan]] = field(default_factory=dict)


def nest(spans: Sequence[StoredSpan]) -> Iterator[StoredSpan]:
    """The spans of a trace in the same order, with the parents that they have in its tree."""
    families: dict[bytes, _Siblings] = {}
    for span in sorted(spans, key=lambda span: span.start):
        if not span.proxy or not span.parent:
            continue
        siblings = families.setdefault(span.parent, _Siblings())
        if span.kind == "client":
            siblings.attempts.append(span)
        else:
            siblings.received.setdefault(span.service, []).append(span)
    for span in spans:
        parent = _parent(span, families.get(span.parent))
        if parent and not span.proxy and (calls := families.get(parent.id)) and calls.attempts:
            parent = calls.attempts[-1]
        yield replace(span, parent=parent.id) if parent else span


def _parent(span: StoredSpan, siblings: _Siblings | None) -> StoredSpan | None:
    """The sibling that a span belongs to; None: it stays where it is."""
    if siblings is None or (span.proxy and span.kind == "client"):
        return None
    candidates = siblings.attempts if span.proxy else siblings.received.get(span.service, [])
    skew = CLOCK_SKEW_NS if span.proxy else 0
    index = bisect_right(candidates, span.start + skew, key=lambda candidate: candidate.start)
    return candidates[max(0, index - 1)] if candidates else None
