"""The request store: the newest records of each service, bounded in number and bytes.

Proxies log requests that failed or were slow, and every request while a tap is open. Each proxy on the path
logs its own record; records of one request share its request ID or trace.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Iterator
from itertools import islice

from meshwright.control_plane.api.host_suffixes import DOMAINS, Domains
from meshwright.control_plane.api.models.requests import Request, TapFilter
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.telemetry import metrics
from meshwright.control_plane.telemetry.ingest.sender import ACCEPT_ALL, SenderCheck
from meshwright.control_plane.telemetry.requests.call_memory import CallMemory
from meshwright.control_plane.telemetry.requests.record import RequestRecord, parse_records
from meshwright.control_plane.telemetry.requests.refusals import RefusalCounter

MAX_PER_SERVICE = 4_000
"""Failed records of one service, and as many others: a noisy service pushes out no one else's."""

MAX_RECORDS, MAX_BYTES = 40_000, 32 * 1024 * 1024
"""All records together; one takes about 1 kB."""

RECORD_OVERHEAD = 500
"""Estimated bytes of memory for the index entries of a record."""

MAX_PER_TRACE = 500
"""Records returned of one request or trace; the trace of an order has about ten."""

NOT_SENT_FLAGS = frozenset({"UF", "UO"})
"""Flags of requests that never reached the instance Envoy names: no connection, or a limit."""

MIN_PREFIX_LENGTH = 4
"""Characters of an ID needed to search by prefix."""


class RequestStore:
    """The store. `dropped` counts dropped records by reason, `evicted` those that made room for others.

    `refusals` counts the records of what was refused, `calls` remembers what was called.
    """

    def __init__(
        self,
        *,
        max_per_service: int = MAX_PER_SERVICE,
        max_records: int = MAX_RECORDS,
        max_bytes: int = MAX_BYTES,
        check: SenderCheck = ACCEPT_ALL,
        calls: CallMemory | None = None,
        domains: Domains = DOMAINS,
    ) -> None:
        self._domains = domains
        self._calls = calls
        self._check = check
        self._max_per_service, self._max_records, self._max_bytes = max_per_service, max_records, max_bytes
        self._records: OrderedDict[int, RequestRecord] = OrderedDict()
        self._queues: dict[tuple[str, bool], deque[int]] = {}
        self._by_request_id: dict[str, list[int]] = {}
        self._by_trace: dict[str, list[int]] = {}
        self.refusals = RefusalCounter()
        self.last_seq = 0
        self.size_bytes = 0
        self.evicted = 0
        self.dropped: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._records)

    def handle(self, identity: Identity, body: bytes, now: float) -> Iterator[None]:
        """Store the records of an export that `identity` sent; yields after each small step."""
        for result in parse_records(body, identity.name, self._domains):
            reason = self._refusal(identity, result) if isinstance(result, RequestRecord) else result
            if reason:
                self.dropped[reason] += 1
                metrics.REQUESTS_DROPPED.labels(reason).inc()
            elif isinstance(result, RequestRecord):
                self.add(result)
                self.refusals.add(result)
                if self._calls is not None:
                    self._calls.add_record(result, now)
            yield
        metrics.REQUESTS_STORED.set(len(self._records))

    def _refusal(self, identity: Identity, record: RequestRecord) -> str:
        """Why a record is not accepted; empty if it is."""
        if self._check.is_foreign(identity, record.proxy):
            return "foreign"
        is_absurd = self._check.is_absurd(record.time, record.time + record.duration / 1000)
        return "absurd time" if is_absurd else ""

    def add(self, record: RequestRecord) -> None:
        """Store a record; the oldest one of its queue, or of the longest queue, makes room.

        Each service has two queues, so that requests that succeeded during a tap do not push out failed ones.
        """
        self.last_seq += 1
        metrics.REQUESTS_RECEIVED.inc()
        self._records[self.last_seq] = record
        key = (record.service, record.failed)
        queue = self._queues.setdefault(key, deque())
        queue.append(self.last_seq)
        for index, id in ((self._by_request_id, record.id), (self._by_trace, record.trace)):
            if id:
                index.setdefault(id, []).append(self.last_seq)
        self.size_bytes += record.size + RECORD_OVERHEAD
        if len(queue) > self._max_per_service:
            self._evict(key)
        while len(self._records) > self._max_records or self.size_bytes > self._max_bytes:
            self._evict(max(self._queues, key=lambda other: len(self._queues[other])))

    # --- queries ------------------------------------------------------------------------------------

    def recent(
        self, limit: int, *, service: str = "", errors: bool = False, since: float = 0.0
    ) -> tuple[Request, ...]:
        """Up to `limit` requests, newest first, that `service` logged or received.

        `errors` selects failed ones, `since` those that started then or later.
        """
        matches = (
            (seq, record)
            for seq, record in reversed(self._records.items())
            if (not service or service in (record.service, record.callee))
            and (record.failed or not errors)
            and record.time >= since
        )
        return tuple(record.to_api(seq) for seq, record in islice(matches, limit))

    def after(self, seq: int, tap: TapFilter, limit: int) -> tuple[tuple[Request, ...], int, int]:
        """The records after `seq` that match a tap.

        Returns the first `limit` of them, the number of those left out, and the last number in the store.
        """
        matches = []
        for number, record in reversed(self._records.items()):
            if number <= seq:
                break
            if matches_tap(tap, record):
                matches.append((number, record))
        requests = tuple(record.to_api(number) for number, record in matches[::-1][:limit])
        return requests, len(matches) - len(requests), self.last_seq

    def find(self, id: str) -> tuple[Request, ...]:
        """All records of a request or trace, ordered by start."""
        numbers = {*self._by_request_id.get(id, ()), *self._by_trace.get(id, ())}
        records = [(number, self._records[number]) for number in sorted(numbers)[:MAX_PER_TRACE]]
        return tuple(
            record.to_api(number) for number, record in sorted(records, key=lambda pair: pair[1].time)
        )

    def ids_with_prefix(self, prefix: str, limit: int) -> tuple[str, ...]:
        """Up to `limit` IDs of requests and traces with this prefix. An exact match is returned alone."""
        if prefix in self._by_request_id or prefix in self._by_trace:
            return (prefix,)
        if len(prefix) < MIN_PREFIX_LENGTH:
            return ()
        indices: Iterable[Iterable[str]] = (self._by_request_id, self._by_trace)
        return tuple(islice((id for index in indices for id in index if id.startswith(prefix)), limit))

    def _evict(self, key: tuple[str, bool]) -> None:
        """Remove the oldest record of a queue."""
        queue = self._queues[key]
        number = queue.popleft()
        record = self._records.pop(number)
        self.size_bytes -= record.size + RECORD_OVERHEAD
        self.evicted += 1
        if not queue:
            del self._queues[key]
        for index, id in ((self._by_request_id, record.id), (self._by_trace, record.trace)):
            if id:
                index[id].remove(number)
                if not index[id]:
                    del index[id]


def matches_tap(tap: TapFilter, record: RequestRecord) -> bool:
    """Whether a tap shows a record: the service received it, or it was meant for the service but never sent.

    So each attempt is shown once, by the proxy that saw most of it.
    """
    return (
        _belongs_to(tap.service, record)
        and (record.failed or not tap.errors)
        and tap.method in ("", record.method)
        and record.path.startswith(tap.path)
        and tap.caller in ("", record.caller)
    )


def _belongs_to(service: str, record: RequestRecord) -> bool:
    if record.service == service and record.direction != "outbound":
        return True
    if record.callee != service or record.direction == "inbound":
        return False
    return not record.upstream_host or not NOT_SENT_FLAGS.isdisjoint(record.flags.split(","))
