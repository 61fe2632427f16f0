"""The traces that are kept, bounded in number and bytes, and what is asked of them.

Room is made by whose spans take most: its oldest trace leaves, so that nobody pushes out all others.

Pure: bytes and the time come in, values of `control_plane.api.traced` go out. A span is taken only from the
service or gateway that its certificate names, so nobody adds to a trace in another's name.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from control_plane.api.spiffe import Identity
from control_plane.api.traced import Dependency, Search, Trace, TraceSummary
from control_plane.telemetry import metrics, spans, tree
from control_plane.telemetry.spans import Row

TRACES = 20_000
"""A quarter of an hour of the demo's 20 requests/s, all traced; also bounds what a search walks through."""

SPANS = 2_000
"""Of one trace: an order has about thirty; a trace that never ends must not push all others out."""

BYTES = 64 * 1024 * 1024
"""In all, with the overheads below: some 50,000 spans of Envoy's."""

SPAN_OVERHEAD, TRACE_OVERHEAD = 800, 2_000
"""Bytes of memory beside a span's own (a row alone has 356), and for a trace with its places in the indices:
estimated."""

STEPS = 16
"""Spans between two yields of `take`: about a tenth of a millisecond."""

DEPENDENCY_SPANS = 20_000
"""The newest spans that `dependencies` looks at: some 20 ms."""


@dataclass(slots=True)
class _Kept:
    """A trace in the store. Spans are apart by their sender too: nobody takes the place of another's."""

    rows: dict[tuple[bytes, str], Row] = field(default_factory=dict)
    size: int = TRACE_OVERHEAD
    dropped: int = 0
    first: int = 0
    longest: int = 0
    failed: bool = False


class Traces:
    """The store. `dropped` counts spans by why they are not kept, `evicted` those that made room."""

    def __init__(self, *, traces: int = TRACES, spans: int = SPANS, size: int = BYTES) -> None:
        """Bounds: traces, spans of one trace, bytes of all."""
        self._most, self._most_spans, self._most_bytes = traces, spans, size
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._services: dict[str, OrderedDict[bytes, None]] = {}
        self._operations: dict[str, Counter[str]] = {}
        self._weights: Counter[str] = Counter()
        self._told = (0, 0)
        self.dropped: Counter[str] = Counter()
        self.size = 0
        self.spans = 0
        self.taken = 0
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._kept)

    def take(self, identity: Identity, body: bytes, now: float) -> Iterator[None]:  # noqa: ARG002  a sink
        """Fold in an export that `identity` sent; yields after every small slice of work."""
        for step, found in enumerate(spans.read(body, identity.name), 1):
            if isinstance(found, Row):
                self._add(found)
            elif found is not None:
                self._drop(found)
            if step % STEPS == 0:
                self._tell()
                yield
        self._tell()

    # --- what is asked ------------------------------------------------------------------------------

    def services(self) -> tuple[str, ...]:
        """Who sent spans that are kept, sorted."""
        return tuple(sorted(self._services))

    def operations(self, service: str) -> tuple[str, ...]:
        """A service's operations, sorted; none of a service that is not known."""
        return tuple(sorted(self._operations.get(service, ())))

    def search(self, wanted: Search, limit: int) -> tuple[TraceSummary, ...]:
        """At most `limit` traces that have a span as wanted, newest first."""
        return tuple(tree.summary(id, rows) for id, rows in islice(self._matches(wanted), limit))

    def find(self, wanted: Search, limit: int) -> Iterator[Trace]:
        """As `search`, the traces whole, one at a step: each takes a millisecond or more to decode."""
        found = [(id, rows, self._kept[id].dropped) for id, rows in islice(self._matches(wanted), limit)]
        return (tree.trace(*one) for one in found)

    def get(self, id: str) -> Trace | None:
        """A trace by its 32 hexadecimal digits; None when it is not kept."""
        key = bytes.fromhex(id)
        kept = self._kept.get(key)
        return tree.trace(key, tuple(kept.rows.values()), kept.dropped) if kept else None

    def rows(self, id: str) -> tuple[tuple[Row, ...], int]:
        """The spans of a trace, and how many of it are missing; none of a trace that is not kept."""
        kept = self._kept.get(bytes.fromhex(id))
        return (tuple(kept.rows.values()), kept.dropped) if kept else ((), 0)

    def matching(self, wanted: Search, limit: int) -> dict[str, int]:
        """As `search`, the IDs alone, each with the start of its first span in ns since the epoch."""
        return {id.hex(): self._kept[id].first for id, _ in islice(self._matches(wanted), limit)}

    def newest(self, wanted: Search) -> Iterator[Row]:
        """The newest spans that `dependencies` looks at."""
        left = DEPENDENCY_SPANS
        for _, rows in self._matches(wanted):
            if left <= 0:
                break
            left -= len(rows)
            yield from rows

    def named(self, prefix: str, most: int) -> tuple[str, ...]:
        """The IDs that begin with a prefix, newest first, at most `most`."""
        ids = (key.hex() for key in reversed(self._kept))
        return tuple(islice((id for id in ids if id.startswith(prefix)), most))

    def dependencies(self, start: int = 0, end: int = 0) -> tuple[Dependency, ...]:
        """Who called whom how often, in the newest traces that began within `start` to `end` (ns, 0: any)."""
        return tree.dependencies(tree.Link.of(row) for row in self.newest(Search(start=start, end=end)))

    def _matches(self, wanted: Search) -> Iterator[tuple[bytes, tuple[Row, ...]]]:
        if wanted.operation and wanted.service and wanted.operation not in self.operations(wanted.service):
            return
        ids = self._services.get(wanted.service, ()) if wanted.service else self._kept
        any_span = wanted == Search(start=wanted.start, end=wanted.end)
        for id in reversed(ids):
            kept = self._kept[id]
            if kept.first < wanted.start or (wanted.end and kept.first > wanted.end):
                continue
            if kept.longest < wanted.min_duration or (wanted.errors and not kept.failed):
                continue
            rows = tuple(kept.rows.values())
            if any_span or any(_meets(row, wanted) for row in rows):
                yield id, rows

    # --- what is kept ---------------------------------------------------------------------------------

    def _add(self, row: Row) -> None:
        size = len(row.body) + SPAN_OVERHEAD
        kept = self._kept.get(row.trace)
        if kept is None:
            kept = _Kept(first=row.start)
        elif (row.id, row.service) in kept.rows:
            self._drop("duplicate")
            return
        if len(kept.rows) >= self._most_spans or kept.size + size > self._most_bytes:
            self._drop("full")
            kept.dropped += 1
            return
        self._insert(kept, row, size)
        while self.size > self._most_bytes or len(self._kept) > self._most:
            self._evict()

    def _insert(self, kept: _Kept, row: Row, size: int) -> None:
        if row.trace not in self._kept:
            self._kept[row.trace] = kept
            self.size += TRACE_OVERHEAD
            self._weights[row.service] += TRACE_OVERHEAD
        kept.rows[row.id, row.service] = row
        kept.size += size
        kept.first = min(kept.first, row.start)
        kept.longest = max(kept.longest, row.duration)
        kept.failed = kept.failed or row.error
        self.size += size
        self._weights[row.service] += size
        self.spans += 1
        self.taken += 1
        self._services.setdefault(row.service, OrderedDict()).setdefault(row.trace)
        self._operations.setdefault(row.service, Counter())[row.operation] += 1

    def _evict(self) -> None:
        """Take out the oldest trace of the sender whose spans take most memory."""
        heaviest = max(self._weights, key=self._weights.__getitem__)
        id = next(iter(self._services[heaviest]))
        kept = self._kept.pop(id)
        self.size -= kept.size
        self.spans -= len(kept.rows)
        self.evicted += len(kept.rows)
        self._weights[next(iter(kept.rows.values())).service] -= TRACE_OVERHEAD
        for row in kept.rows.values():
            self._weights[row.service] -= len(row.body) + SPAN_OVERHEAD
            operations = self._operations[row.service]
            operations[row.operation] -= 1
            if not operations[row.operation]:
                del operations[row.operation]
        for service in {row.service for row in kept.rows.values()}:
            del self._services[service][id]
            if not self._services[service]:
                del self._services[service], self._operations[service], self._weights[service]

    def _drop(self, reason: str) -> None:
        self.dropped[reason] += 1
        metrics.SPANS_DROPPED.labels(reason).inc()

    def _tell(self) -> None:
        """Bring the metrics up to what is so."""
        metrics.TRACES.set(len(self._kept))
        metrics.TRACE_BYTES.set(self.size)
        taken, evicted = self._told
        metrics.SPANS.inc(self.taken - taken)
        metrics.SPANS_EVICTED.inc(self.evicted - evicted)
        self._told = (self.taken, self.evicted)


def _meets(row: Row, wanted: Search) -> bool:
    """Whether a span is what is looked for; when it was is the trace's matter."""
    return (
        (not wanted.service or row.service == wanted.service)
        and (not wanted.operation or row.operation == wanted.operation)
        and row.duration >= wanted.min_duration
        and (not wanted.max_duration or row.duration <= wanted.max_duration)
        and (row.error or not wanted.errors)
    )
