"""The requests that are kept: the newest of each service, bounded in number and bytes. Pure.

Proxies tell what failed and what was slow, and all of it while somebody listens. Each tells of the same
request in a record of its own; what belongs together has the same request id or trace.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Iterator
from itertools import islice

from meshwright.control_plane.api.models.requests import Request, TapFilter
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.telemetry import metrics
from meshwright.control_plane.telemetry.requests import record as record_module
from meshwright.control_plane.telemetry.requests.record import RequestRecord

MAX_PER_SERVICE = 4_000
"""Of what failed at one service's proxies, and of what did not: a noisy one pushes nobody else's out."""

MAX_RECORDS, MAX_BYTES = 40_000, 32 * 1024 * 1024
"""In all; a record takes about 1 KB."""

RECORD_OVERHEAD = 500
"""Bytes of memory for a record's places in the indices, estimated."""

RECORDS_PER_STEP = 64
"""Records between two yields of `take`."""

MAX_PER_TRACE = 500
"""Records of one request or trace that are given: a trace of an order has about ten."""

NOT_SENT_FLAGS = frozenset({"UF", "UO"})
"""Flags of requests that never came to the instance which Envoy names: no connection, or a limit."""

MIN_PREFIX_LENGTH = 4
"""Characters of an id that must be given at least."""


class RequestStore:
    """The store. `dropped` counts records by why they are not kept, `evicted` those that made room."""

    def __init__(
        self,
        *,
        max_per_service: int = MAX_PER_SERVICE,
        max_records: int = MAX_RECORDS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """Bounds: records of a service, of all, and bytes."""
        self._max_per_service, self._max_records, self._max_bytes = max_per_service, max_records, max_bytes
        self._records: OrderedDict[int, RequestRecord] = OrderedDict()
        self._queues: dict[tuple[str, bool], deque[int]] = {}
        self._by_request_id: dict[str, list[int]] = {}
        self._by_trace: dict[str, list[int]] = {}
        self.last_seq = 0
        self.size_bytes = 0
        self.evicted = 0
        self.dropped: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._records)

    def handle(self, identity: Identity, body: bytes, now: float) -> Iterator[None]:  # noqa: ARG002  a sink
        """Fold in an export that `identity` sent; yields after every small slice of work."""
        for step, found in enumerate(record_module.parse_records(body, identity.name), 1):
            if isinstance(found, RequestRecord):
                self.add(found)
            elif found is not None:
                self.dropped[found] += 1
                metrics.REQUESTS_DROPPED.labels(found).inc()
            if step % RECORDS_PER_STEP == 0:
                yield
        metrics.REQUESTS_STORED.set(len(self._records))

    def add(self, record: RequestRecord) -> None:
        """Keep a record; the oldest of its line, or of the longest line, makes room.

        Each service has two: what failed is not pushed out by what went well while somebody listened.
        """
        self.last_seq += 1
        metrics.REQUESTS_RECEIVED.inc()
        self._records[self.last_seq] = record
        line = (record.service, record.failed)
        own = self._queues.setdefault(line, deque())
        own.append(self.last_seq)
        for index, id in ((self._by_request_id, record.id), (self._by_trace, record.trace)):
            if id:
                index.setdefault(id, []).append(self.last_seq)
        self.size_bytes += record.size + RECORD_OVERHEAD
        if len(own) > self._max_per_service:
            self._evict(line)
        while len(self._records) > self._max_records or self.size_bytes > self._max_bytes:
            self._evict(max(self._queues, key=lambda one: len(self._queues[one])))

    # --- what is asked ------------------------------------------------------------------------------

    def recent(
        self, limit: int, *, service: str = "", errors: bool = False, since: float = 0.0
    ) -> tuple[Request, ...]:
        """At most `limit` requests, newest first: told by or sent to `service`, failed, begun since then."""
        found = (
            (seq, one)
            for seq, one in reversed(self._records.items())
            if (not service or service in (one.service, one.callee))
            and (one.failed or not errors)
            and one.time >= since
        )
        return tuple(one.to_api(seq) for seq, one in islice(found, limit))

    def after(self, seq: int, tap: TapFilter, limit: int) -> tuple[tuple[Request, ...], int, int]:
        """What came after number `seq`: at most `limit` as wanted, how many more, and the last number."""
        fresh = []
        for number, one in reversed(self._records.items()):
            if number <= seq:
                break
            if matches_tap(tap, one):
                fresh.append((number, one))
        shown = fresh[::-1][:limit]
        return tuple(one.to_api(number) for number, one in shown), len(fresh) - len(shown), self.last_seq

    def find(self, id: str) -> tuple[Request, ...]:
        """All that is kept of a request or trace, in the order of their begin; empty: nothing."""
        numbers = {*self._by_request_id.get(id, ()), *self._by_trace.get(id, ())}
        found = [(number, self._records[number]) for number in sorted(numbers)[:MAX_PER_TRACE]]
        return tuple(one.to_api(number) for number, one in sorted(found, key=lambda pair: pair[1].time))

    def ids_with_prefix(self, prefix: str, limit: int) -> tuple[str, ...]:
        """Ids of requests and traces that begin so, at most `most`; one that is meant whole stands alone."""
        if prefix in self._by_request_id or prefix in self._by_trace:
            return (prefix,)
        if len(prefix) < MIN_PREFIX_LENGTH:
            return ()
        both: Iterable[Iterable[str]] = (self._by_request_id, self._by_trace)
        return tuple(islice((id for index in both for id in index if id.startswith(prefix)), limit))

    def _evict(self, line: tuple[str, bool]) -> None:
        """Take out the oldest record of a line."""
        own = self._queues[line]
        number = own.popleft()
        record = self._records.pop(number)
        self.size_bytes -= record.size + RECORD_OVERHEAD
        self.evicted += 1
        if not own:
            del self._queues[line]
        for index, id in ((self._by_request_id, record.id), (self._by_trace, record.trace)):
            if id:
                index[id].remove(number)
                if not index[id]:
                    del index[id]


def matches_tap(tap: TapFilter, record: RequestRecord) -> bool:
    """Whether a listener is to see a record: taken in by the service, or meant for it and never sent there.

    So each request is seen once for each try that reached an instance, as its sidecar saw it.
    """
    return (
        _reached_service(tap.service, record)
        and (record.failed or not tap.errors)
        and tap.method in ("", record.method)
        and record.path.startswith(tap.path)
        and tap.caller in ("", record.caller)
    )


def _reached_service(service: str, record: RequestRecord) -> bool:
    if record.service == service and record.direction != "outbound":
        return True
    if record.callee != service or record.direction == "inbound":
        return False
    return not record.upstream_host or not NOT_SENT_FLAGS.isdisjoint(record.flags.split(","))
