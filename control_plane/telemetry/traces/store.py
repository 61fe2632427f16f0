"""The traces that are kept, bounded in number and bytes, and what is asked of them.

Room is made by whose spans take most: its oldest trace leaves, so that nobody pushes out all others.

Pure: bytes and the time come in, values of `meshwright.control_plane.api.models.traces` go out. A span is taken only from the
service or gateway that its certificate names, so nobody adds to a trace in another's name.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from meshwright.control_plane.api.models.traces import ServiceDependency, Trace, TraceQuery, TraceSummary
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.telemetry import metrics
from meshwright.control_plane.telemetry.traces import span, tree
from meshwright.control_plane.telemetry.traces.span import StoredSpan

MAX_TRACES = 20_000
"""A quarter of an hour of the demo's 20 requests/s, all traced; also bounds what a search walks through."""

MAX_SPANS_PER_TRACE = 2_000
"""Of one trace: an order has about thirty; a trace that never ends must not push all others out."""

MAX_BYTES = 64 * 1024 * 1024
"""In all, with the overheads below: some 50,000 spans of Envoy's."""

SPAN_OVERHEAD, TRACE_OVERHEAD = 800, 2_000
"""Bytes of memory beside a span's own (a row alone has 356), and for a trace with its places in the indices:
estimated."""

SPANS_PER_STEP = 16
"""Spans between two yields of `take`: about a tenth of a millisecond."""

DEPENDENCY_SPANS = 20_000
"""The newest spans that `dependencies` looks at: some 20 ms."""


@dataclass(slots=True)
class _TraceEntry:
    """A trace in the store. Spans are apart by their sender too: nobody takes the place of another's."""

    spans: dict[tuple[bytes, str], StoredSpan] = field(default_factory=dict)
    size: int = TRACE_OVERHEAD
    dropped: int = 0
    start: int = 0
    longest: int = 0
    failed: bool = False


class TraceStore:
    """The store. `dropped` counts spans by why they are not kept, `evicted` those that made room."""

    def __init__(
        self,
        *,
        max_traces: int = MAX_TRACES,
        max_spans_per_trace: int = MAX_SPANS_PER_TRACE,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """Bounds: traces, spans of one trace, bytes of all."""
        self._max_traces, self._max_spans_per_trace, self._max_bytes = (
            max_traces,
            max_spans_per_trace,
            max_bytes,
        )
        self._traces: OrderedDict[bytes, _TraceEntry] = OrderedDict()
        self._services: dict[str, OrderedDict[bytes, None]] = {}
        self._operations: dict[str, Counter[str]] = {}
        self._bytes_by_service: Counter[str] = Counter()
        self._reported = (0, 0)
        self.dropped: Counter[str] = Counter()
        self.size_bytes = 0
        self.span_count = 0
        self.stored_total = 0
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._traces)

    def handle(self, identity: Identity, body: bytes, now: float) -> Iterator[None]:  # noqa: ARG002  a sink
        """Fold in an export that `identity` sent; yields after every small slice of work."""
        for step, found in enumerate(span.parse_spans(body, identity.name), 1):
            if isinstance(found, StoredSpan):
                self._add(found)
            elif found is not None:
                self._drop(found)
            if step % SPANS_PER_STEP == 0:
                self._update_metrics()
                yield
        self._update_metrics()

    # --- what is asked ------------------------------------------------------------------------------

    def services(self) -> tuple[str, ...]:
        """Who sent spans that are kept, sorted."""
        return tuple(sorted(self._services))

    def operations(self, service: str) -> tuple[str, ...]:
        """A service's operations, sorted; none of a service that is not known."""
        return tuple(sorted(self._operations.get(service, ())))

    def search(self, query: TraceQuery, limit: int) -> tuple[TraceSummary, ...]:
        """At most `limit` traces that have a span as wanted, newest first."""
        return tuple(tree.build_summary(id, rows) for id, rows in islice(self._matches(query), limit))

    def search_full(self, query: TraceQuery, limit: int) -> Iterator[Trace]:
        """As `search`, the traces whole, one at a step: each takes a millisecond or more to decode."""
        found = [(id, rows, self._traces[id].dropped) for id, rows in islice(self._matches(query), limit)]
        return (tree.build_trace(*one) for one in found)

    def get(self, id: str) -> Trace | None:
        """A trace by its 32 hexadecimal digits; None when it is not kept."""
        key = bytes.fromhex(id)
        kept = self._traces.get(key)
        return tree.build_trace(key, tuple(kept.spans.values()), kept.dropped) if kept else None

    def spans_of(self, id: str) -> tuple[tuple[StoredSpan, ...], int]:
        """The spans of a trace, and how many of it are missing; none of a trace that is not kept."""
        kept = self._traces.get(bytes.fromhex(id))
        return (tuple(kept.spans.values()), kept.dropped) if kept else ((), 0)

    def matching_ids(self, query: TraceQuery, limit: int) -> dict[str, int]:
        """As `search`, the IDs alone, each with the start of its first span in ns since the epoch."""
        return {id.hex(): self._traces[id].start for id, _ in islice(self._matches(query), limit)}

    def recent_spans(self, query: TraceQuery) -> Iterator[StoredSpan]:
        """The newest spans that `dependencies` looks at."""
        left = DEPENDENCY_SPANS
        for _, rows in self._matches(query):
            if left <= 0:
                break
            left -= len(rows)
            yield from rows

    def ids_with_prefix(self, prefix: str, limit: int) -> tuple[str, ...]:
        """The IDs that begin with a prefix, newest first, at most `most`."""
        ids = (key.hex() for key in reversed(self._traces))
        return tuple(islice((id for id in ids if id.startswith(prefix)), limit))

    def dependencies(self, start: int = 0, end: int = 0) -> tuple[ServiceDependency, ...]:
        """Who called whom how often, in the newest traces that began within `start` to `end` (ns, 0: any)."""
        return tree.dependencies(
            tree.CallLink.from_span(row) for row in self.recent_spans(TraceQuery(start=start, end=end))
        )

    def _matches(self, query: TraceQuery) -> Iterator[tuple[bytes, tuple[StoredSpan, ...]]]:
        if query.operation and query.service and query.operation not in self.operations(query.service):
            return
        ids = self._services.get(query.service, ()) if query.service else self._traces
        any_span = query == TraceQuery(start=query.start, end=query.end)
        for id in reversed(ids):
            kept = self._traces[id]
            if kept.start < query.start or (query.end and kept.start > query.end):
                continue
            if kept.longest < query.min_duration or (query.errors and not kept.failed):
                continue
            rows = tuple(kept.spans.values())
            if any_span or any(_matches_span(row, query) for row in rows):
                yield id, rows

    # --- what is kept ---------------------------------------------------------------------------------

    def _add(self, row: StoredSpan) -> None:
        size = len(row.body) + SPAN_OVERHEAD
        kept = self._traces.get(row.trace)
        if kept is None:
            kept = _TraceEntry(start=row.start)
        elif (row.id, row.service) in kept.spans:
            self._drop("duplicate")
            return
        if len(kept.spans) >= self._max_spans_per_trace or kept.size + size > self._max_bytes:
            self._drop("full")
            kept.dropped += 1
            return
        self._insert(kept, row, size)
        while self.size_bytes > self._max_bytes or len(self._traces) > self._max_traces:
            self._evict()

    def _insert(self, kept: _TraceEntry, row: StoredSpan, size: int) -> None:
        if row.trace not in self._traces:
            self._traces[row.trace] = kept
            self.size_bytes += TRACE_OVERHEAD
            self._bytes_by_service[row.service] += TRACE_OVERHEAD
        kept.spans[row.id, row.service] = row
        kept.size += size
        kept.start = min(kept.start, row.start)
        kept.longest = max(kept.longest, row.duration)
        kept.failed = kept.failed or row.error
        self.size_bytes += size
        self._bytes_by_service[row.service] += size
        self.span_count += 1
        self.stored_total += 1
        self._services.setdefault(row.service, OrderedDict()).setdefault(row.trace)
        self._operations.setdefault(row.service, Counter())[row.operation] += 1

    def _evict(self) -> None:
        """Take out the oldest trace of the sender whose spans take most memory."""
        heaviest = max(self._bytes_by_service, key=self._bytes_by_service.__getitem__)
        id = next(iter(self._services[heaviest]))
        kept = self._traces.pop(id)
        self.size_bytes -= kept.size
        self.span_count -= len(kept.spans)
        self.evicted += len(kept.spans)
        self._bytes_by_service[next(iter(kept.spans.values())).service] -= TRACE_OVERHEAD
        for row in kept.spans.values():
            self._bytes_by_service[row.service] -= len(row.body) + SPAN_OVERHEAD
            operations = self._operations[row.service]
            operations[row.operation] -= 1
            if not operations[row.operation]:
                del operations[row.operation]
        for service in {row.service for row in kept.spans.values()}:
            del self._services[service][id]
            if not self._services[service]:
                del self._services[service], self._operations[service], self._bytes_by_service[service]

    def _drop(self, reason: str) -> None:
        self.dropped[reason] += 1
        metrics.SPANS_DROPPED.labels(reason).inc()

    def _update_metrics(self) -> None:
        """Bring the metrics up to what is so."""
        metrics.TRACES_STORED.set(len(self._traces))
        metrics.TRACE_BYTES.set(self.size_bytes)
        taken, evicted = self._reported
        metrics.SPANS_STORED.inc(self.stored_total - taken)
        metrics.SPANS_EVICTED.inc(self.evicted - evicted)
        self._reported = (self.stored_total, self.evicted)


def _matches_span(row: StoredSpan, wanted: TraceQuery) -> bool:
    """Whether a span is what is looked for; when it was is the trace's matter."""
    return (
        (not wanted.service or row.service == wanted.service)
        and (not wanted.operation or row.operation == wanted.operation)
        and row.duration >= wanted.min_duration
        and (not wanted.max_duration or row.duration <= wanted.max_duration)
        and (row.error or not wanted.errors)
    )
