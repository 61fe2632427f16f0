"""The trace store, bounded in number and bytes.

When it is full, the service that uses the most makes room by what it alone wrote: no service can push out the
traces of others, also not those that it joined. Of one trace a service has a share. A span is accepted only
from the service or gateway of the sender's certificate, so nobody can add spans in another's name.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice

from meshwright.control_plane.api.models.traces import ServiceDependency, Trace, TraceQuery, TraceSummary
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.telemetry import metrics
from meshwright.control_plane.telemetry.ingest.sender import ACCEPT_ALL, SenderCheck
from meshwright.control_plane.telemetry.traces import tree
from meshwright.control_plane.telemetry.traces.nesting import nest
from meshwright.control_plane.telemetry.traces.query import matches_any_span, matches_span
from meshwright.control_plane.telemetry.traces.span import StoredSpan, parse_spans

MAX_TRACES = 20_000
"""A quarter of an hour of 20 requests/s, all traced. It also bounds the work of a search."""

MAX_SPANS_PER_TRACE = 2_000
"""An order has about thirty. A trace that never ends must not push out all others."""

MAX_BYTES = 64 * 1024 * 1024
"""Size of everything stored, with the overheads below: about 50,000 of Envoy's spans."""

SPAN_OVERHEAD, TRACE_OVERHEAD = 800, 2_000
"""Estimated bytes of memory for a span besides its body (a StoredSpan alone takes 356), and for a trace with
its index entries."""

TRACE_SHARE = 4
"""One service may have this fraction of the spans of a trace: a quarter."""

NANOSECONDS = 1e9

METRICS_INTERVAL = 16
"""Spans between two updates of the metrics."""

DEPENDENCY_SPANS = 20_000
"""Number of the newest spans that `dependencies` reads; takes about 20 ms."""


@dataclass(slots=True)
class _TraceEntry:
    """One trace. Spans are keyed by sender as well, so that no sender can replace another's span.

    `owner`: the service that its overhead is counted for; `counts`: spans by service.
    """

    owner: str
    spans: dict[tuple[bytes, str], StoredSpan] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    size: int = TRACE_OVERHEAD
    dropped: int = 0
    start: int = 0
    longest: int = 0
    failed: bool = False


class TraceStore:
    """The store. `dropped` counts dropped spans by reason, `evicted` those that made room for others."""

    def __init__(
        self,
        *,
        max_traces: int = MAX_TRACES,
        max_spans_per_trace: int = MAX_SPANS_PER_TRACE,
        max_bytes: int = MAX_BYTES,
        check: SenderCheck = ACCEPT_ALL,
    ) -> None:
        self._check = check
        self._max_traces = max_traces
        self._max_spans_per_trace = max_spans_per_trace
        self._max_bytes = max_bytes
        self._traces: OrderedDict[bytes, _TraceEntry] = OrderedDict()
        self._services: dict[str, OrderedDict[bytes, None]] = {}
        self._alone: dict[str, OrderedDict[bytes, None]] = {}
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

    def handle(self, identity: Identity, body: bytes, now: float) -> Iterator[None]:  # noqa: ARG002  a handler
        """Store the spans of an export that `identity` sent; yields after each small step."""
        for step, result in enumerate(parse_spans(body, identity.name), 1):
            if isinstance(result, StoredSpan):
                reason = self._refusal(identity, result)
                if reason:
                    self._drop(reason)
                else:
                    self._add(result)
            elif result is not None:
                self._drop(result)
            if step % METRICS_INTERVAL == 0:
                self._update_metrics()
            yield
        self._update_metrics()

    # --- queries ------------------------------------------------------------------------------------

    def services(self) -> tuple[str, ...]:
        """The services with stored spans, sorted."""
        return tuple(sorted(self._services))

    def operations(self, service: str) -> tuple[str, ...]:
        """A service's operations, sorted."""
        return tuple(sorted(self._operations.get(service, ())))

    def search(self, query: TraceQuery, limit: int) -> tuple[TraceSummary, ...]:
        """Up to `limit` traces with a matching span, newest first."""
        return tuple(tree.build_summary(id, spans) for id, spans in islice(self._matches(query), limit))

    def search_full(self, query: TraceQuery, limit: int) -> Iterator[Trace]:
        """Like `search`, with all spans, one trace at a time: decoding one takes a millisecond or more."""
        matches = [(id, spans, self._traces[id].dropped) for id, spans in islice(self._matches(query), limit)]
        return (tree.build_trace(*match) for match in matches)

    def get(self, id: str) -> Trace | None:
        """A trace by its 32 hexadecimal digits; None if it is not stored."""
        key = bytes.fromhex(id)
        entry = self._traces.get(key)
        return tree.build_trace(key, tuple(entry.spans.values()), entry.dropped) if entry else None

    def spans_of(self, id: str) -> tuple[tuple[StoredSpan, ...], int]:
        """The spans of a trace, and how many of it were dropped."""
        entry = self._traces.get(bytes.fromhex(id))
        return (tuple(entry.spans.values()), entry.dropped) if entry else ((), 0)

    def matching_ids(self, query: TraceQuery, limit: int) -> dict[str, int]:
        """Like `search`, the IDs only, each with the start of its first span in ns since the epoch."""
        return {id.hex(): self._traces[id].start for id, _ in islice(self._matches(query), limit)}

    def recent_spans(self, query: TraceQuery) -> Iterator[StoredSpan]:
        """The newest spans of matching traces, DEPENDENCY_SPANS or slightly more."""
        remaining = DEPENDENCY_SPANS
        for _, spans in self._matches(query):
            if remaining <= 0:
                break
            remaining -= len(spans)
            yield from nest(spans)

    def ids_with_prefix(self, prefix: str, limit: int) -> tuple[str, ...]:
        """Up to `limit` IDs with this prefix, newest first."""
        ids = (key.hex() for key in reversed(self._traces))
        return tuple(islice((id for id in ids if id.startswith(prefix)), limit))

    def dependencies(self, start: int = 0, end: int = 0) -> tuple[ServiceDependency, ...]:
        """How often each service called another, in the newest traces.

        `start` and `end` bound the start of a trace, in ns since the epoch; 0 does not.
        """
        spans = self.recent_spans(TraceQuery(start=start, end=end))
        return tree.dependencies(tree.CallLink.from_span(span) for span in spans)

    def _matches(self, query: TraceQuery) -> Iterator[tuple[bytes, tuple[StoredSpan, ...]]]:
        if query.operation and query.service and query.operation not in self.operations(query.service):
            return
        ids = self._services.get(query.service, ()) if query.service else self._traces
        matches_any = matches_any_span(query)
        for id in reversed(ids):
            entry = self._traces[id]
            if entry.start < query.start or (query.end and entry.start > query.end):
                continue
            if entry.longest < query.min_duration or (query.errors and not entry.failed):
                continue
            spans = tuple(entry.spans.values())
            if matches_any or any(matches_span(span, query) for span in spans):
                yield id, spans

    def _refusal(self, identity: Identity, span: StoredSpan) -> str:
        """Why a span is not accepted; empty if it is."""
        if self._check.is_foreign(identity, span.instance):
            return "foreign"
        is_absurd = self._check.is_absurd(span.start / NANOSECONDS, span.end / NANOSECONDS)
        return "absurd time" if is_absurd else ""

    # --- storage ------------------------------------------------------------------------------------

    def _add(self, span: StoredSpan) -> None:
        size = len(span.body) + SPAN_OVERHEAD
        entry = self._traces.get(span.trace)
        if entry is None:
            entry = _TraceEntry(span.service, start=span.start)
        elif (span.id, span.service) in entry.spans:
            self._drop("duplicate")
            return
        is_full = len(entry.spans) >= self._max_spans_per_trace or entry.size + size > self._max_bytes
        if is_full or entry.counts[span.service] >= max(1, self._max_spans_per_trace // TRACE_SHARE):
            self._drop("full")
            entry.dropped += 1
            return
        self._insert(entry, span, size)
        while self.size_bytes > self._max_bytes or len(self._traces) > self._max_traces:
            self._evict()

    def _insert(self, entry: _TraceEntry, span: StoredSpan, size: int) -> None:
        if span.trace not in self._traces:
            self._traces[span.trace] = entry
            self.size_bytes += TRACE_OVERHEAD
            self._bytes_by_service[span.service] += TRACE_OVERHEAD
        entry.spans[span.id, span.service] = span
        entry.counts[span.service] += 1
        if len(entry.counts) == 1:
            self._alone.setdefault(span.service, OrderedDict()).setdefault(span.trace)
        elif entry.counts[span.service] == 1:
            for alone in self._alone.values():
                alone.pop(span.trace, None)
        entry.size += size
        entry.start = min(entry.start, span.start)
        entry.longest = max(entry.longest, span.duration)
        entry.failed = entry.failed or span.error
        self.size_bytes += size
        self._bytes_by_service[span.service] += size
        self.span_count += 1
        self.stored_total += 1
        self._services.setdefault(span.service, OrderedDict()).setdefault(span.trace)
        self._operations.setdefault(span.service, Counter())[span.operation] += 1

    def _evict(self) -> None:
        """Make room at the expense of the service that uses most.

        That is its oldest trace without spans of others. If it has none, its spans are spread over traces of
        others: if they take half of the store, those of its oldest trace go, else the oldest trace of all.
        """
        largest = max(self._bytes_by_service, key=self._bytes_by_service.__getitem__)
        alone = self._alone.get(largest)
        if alone:
            self._evict_spans(next(iter(alone)), {largest})
        elif self._bytes_by_service[largest] > self._max_bytes / 2:
            self._evict_spans(next(iter(self._services[largest])), {largest})
        else:
            oldest = next(iter(self._traces))
            self._evict_spans(oldest, set(self._traces[oldest].counts))

    def _evict_spans(self, id: bytes, services: Collection[str]) -> None:
        """Remove the spans of some services from a trace, and the trace if none are left."""
        entry = self._traces[id]
        removed = [key for key, span in entry.spans.items() if span.service in services]
        for key in removed:
            self._remove_span(entry, entry.spans.pop(key))
        entry.dropped += len(removed)
        self.evicted += len(removed)
        if entry.owner in services:
            self._bytes_by_service[entry.owner] -= TRACE_OVERHEAD
        rest = tuple(entry.spans.values())
        if not rest:
            del self._traces[id]
            self.size_bytes -= TRACE_OVERHEAD
        else:
            if entry.owner in services:
                entry.owner = rest[0].service
                self._bytes_by_service[entry.owner] += TRACE_OVERHEAD
            entry.start = min(span.start for span in rest)
            entry.longest = max(span.duration for span in rest)
            entry.failed = any(span.error for span in rest)
        for service in services:
            del entry.counts[service]
            self._remove_from_service(id, service)
        if len(entry.counts) == 1:
            self._alone.setdefault(next(iter(entry.counts)), OrderedDict()).setdefault(id)

    def _remove_from_service(self, id: bytes, service: str) -> None:
        del self._services[service][id]
        self._alone.get(service, OrderedDict()).pop(id, None)
        if not self._services[service]:
            self._alone.pop(service, None)
            del self._services[service], self._operations[service], self._bytes_by_service[service]

    def _remove_span(self, entry: _TraceEntry, span: StoredSpan) -> None:
        size = len(span.body) + SPAN_OVERHEAD
        entry.size -= size
        self.size_bytes -= size
        self.span_count -= 1
        self._bytes_by_service[span.service] -= size
        operations = self._operations[span.service]
        operations[span.operation] -= 1
        if not operations[span.operation]:
            del operations[span.operation]

    def _drop(self, reason: str) -> None:
        self.dropped[reason] += 1
        metrics.SPANS_DROPPED.labels(reason).inc()

    def _update_metrics(self) -> None:
        metrics.TRACES_STORED.set(len(self._traces))
        metrics.TRACE_BYTES.set(self.size_bytes)
        stored, evicted = self._reported
        metrics.SPANS_STORED.inc(self.stored_total - stored)
        metrics.SPANS_EVICTED.inc(self.evicted - evicted)
        self._reported = (self.stored_total, self.evicted)
