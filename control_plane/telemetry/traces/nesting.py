"""Puts spans that were made from log records where Envoy's own would be in a trace's tree.

A traced request names the span of the caller's proxy as its parent, on every attempt. So these are siblings:
the attempts, the callee's side of each, and what the callee's app did. Where every attempt arrived, they
belong together in their order, whatever the clocks say. Otherwise the callee's side belongs to the last
attempt that started before it, as the app's work does to the last call of the app. (Attempts that overlap,
of a hedged request to several instances, may be exchanged.) Spans of proxies that make all of them have these
parents already.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from meshwright.control_plane.telemetry.traces.span import StoredSpan


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
    attempts = {span.id: attempt for siblings in families.values() for span, attempt in _pairs(siblings)}
    for span in spans:
        parent = attempts.get(span.id) if span.proxy else _app_call(span, families)
        yield replace(span, parent=parent.id) if parent else span


def _pairs(siblings: _Siblings) -> Iterator[tuple[StoredSpan, StoredSpan]]:
    """What each service received, with its attempt."""
    if not siblings.attempts:
        return
    for received in siblings.received.values():
        if len(received) == len(siblings.attempts):
            yield from zip(received, siblings.attempts, strict=True)
        else:
            yield from ((span, _last_before(span, siblings.attempts)) for span in received)


def _app_call(span: StoredSpan, families: Mapping[bytes, _Siblings]) -> StoredSpan | None:
    """The call of the app that its span belongs to; None: the span stays where it is."""
    siblings = families.get(span.parent)
    received = siblings.received.get(span.service, ()) if siblings else ()
    if not received:
        return None
    parent = _last_before(span, received)
    calls = families.get(parent.id)
    return calls.attempts[-1] if calls and calls.attempts else parent


def _last_before(span: StoredSpan, candidates: Sequence[StoredSpan]) -> StoredSpan:
    """The last of the candidates, by start, that started before a span; the first if none did."""
    index = bisect_right(candidates, span.start, key=lambda candidate: candidate.start)
    return candidates[max(0, index - 1)]
