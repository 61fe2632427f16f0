"""The requests that are kept: the newest of each service, bounded in number and bytes. Pure.

Proxies tell what failed and what was slow, and all of it while somebody listens. Each tells of the same
request in a record of its own; what belongs together has the same request id or trace.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Iterator
from itertools import islice

from control_plane.api.requested import Request, Tap
from control_plane.api.spiffe import Identity
from control_plane.telemetry import logs, metrics
from control_plane.telemetry.logs import Record

EACH = 4_000
"""Of what failed at one service's proxies, and of what did not: a noisy one pushes nobody else's out."""

ALL, BYTES = 40_000, 32 * 1024 * 1024
"""In all; a record takes about 1 KB."""

OVERHEAD = 500
"""Bytes of memory for a record's places in the indices, estimated."""

STEPS = 64
"""Records between two yields of `take`."""

OF_ONE = 500
"""Records of one request or trace that are given: a trace of an order has about ten."""

UNSENT = frozenset({"UF", "UO"})
"""Flags of requests that never came to the instance which Envoy names: no connection, or a limit."""

PREFIX = 4
"""Characters of an id that must be given at least."""


class Requests:
    """The store. `dropped` counts records by why they are not kept, `evicted` those that made room."""

    def __init__(self, *, each: int = EACH, most: int = ALL, size: int = BYTES) -> None:
        """Bounds: records of a service, of all, and bytes."""
        self._each, self._most, self._most_bytes = each, most, size
        self._kept: OrderedDict[int, Record] = OrderedDict()
        self._lines: dict[tuple[str, bool], deque[int]] = {}
        self._requests: dict[str, list[int]] = {}
        self._traces: dict[str, list[int]] = {}
        self.newest = 0
        self.size = 0
        self.evicted = 0
        self.dropped: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._kept)

    def take(self, identity: Identity, body: bytes, now: float) -> Iterator[None]:  # noqa: ARG002  a sink
        """Fold in an export that `identity` sent; yields after every small slice of work."""
        for step, found in enumerate(logs.read(body, identity.name), 1):
            if isinstance(found, Record):
                self.add(found)
            elif found is not None:
                self.dropped[found] += 1
                metrics.REQUESTS_DROPPED.labels(found).inc()
            if step % STEPS == 0:
                yield
        metrics.REQUESTS_KEPT.set(len(self._kept))

    def add(self, record: Record) -> None:
        """Keep a record; the oldest of its line, or of the longest line, makes room.

        Each service has two: what failed is not pushed out by what went well while somebody listened.
        """
        self.newest += 1
        metrics.REQUESTS.inc()
        self._kept[self.newest] = record
        line = (record.service, record.failed)
        own = self._lines.setdefault(line, deque())
        own.append(self.newest)
        for index, id in ((self._requests, record.id), (self._traces, record.trace)):
            if id:
                index.setdefault(id, []).append(self.newest)
        self.size += record.size + OVERHEAD
        if len(own) > self._each:
            self._evict(line)
        while len(self._kept) > self._most or self.size > self._most_bytes:
            self._evict(max(self._lines, key=lambda one: len(self._lines[one])))

    # --- what is asked ------------------------------------------------------------------------------

    def listed(
        self, limit: int, *, service: str = "", errors: bool = False, since: float = 0.0
    ) -> tuple[Request, ...]:
        """At most `limit` requests, newest first: told by or sent to `service`, failed, begun since then."""
        found = (
            (seq, one)
            for seq, one in reversed(self._kept.items())
            if (not service or service in (one.service, one.callee))
            and (one.failed or not errors)
            and one.time >= since
        )
        return tuple(one.told(seq) for seq, one in islice(found, limit))

    def after(self, seq: int, wanted: Tap, limit: int) -> tuple[tuple[Request, ...], int, int]:
        """What came after number `seq`: at most `limit` as wanted, how many more, and the last number."""
        fresh = []
        for number, one in reversed(self._kept.items()):
            if number <= seq:
                break
            if takes(wanted, one):
                fresh.append((number, one))
        shown = fresh[::-1][:limit]
        return tuple(one.told(number) for number, one in shown), len(fresh) - len(shown), self.newest

    def find(self, id: str) -> tuple[Request, ...]:
        """All that is kept of a request or trace, in the order of their begin; empty: nothing."""
        numbers = {*self._requests.get(id, ()), *self._traces.get(id, ())}
        found = [(number, self._kept[number]) for number in sorted(numbers)[:OF_ONE]]
        return tuple(one.told(number) for number, one in sorted(found, key=lambda pair: pair[1].time))

    def named(self, prefix: str, most: int) -> tuple[str, ...]:
        """Ids of requests and traces that begin so, at most `most`; one that is meant whole stands alone."""
        if prefix in self._requests or prefix in self._traces:
            return (prefix,)
        if len(prefix) < PREFIX:
            return ()
        both: Iterable[Iterable[str]] = (self._requests, self._traces)
        return tuple(islice((id for index in both for id in index if id.startswith(prefix)), most))

    def _evict(self, line: tuple[str, bool]) -> None:
        """Take out the oldest record of a line."""
        own = self._lines[line]
        number = own.popleft()
        record = self._kept.pop(number)
        self.size -= record.size + OVERHEAD
        self.evicted += 1
        if not own:
            del self._lines[line]
        for index, id in ((self._requests, record.id), (self._traces, record.trace)):
            if id:
                index[id].remove(number)
                if not index[id]:
                    del index[id]


def takes(wanted: Tap, record: Record) -> bool:
    """Whether a listener is to see a record: taken in by the service, or meant for it and never sent there.

    So each request is seen once for each try that reached an instance, as its sidecar saw it.
    """
    return (
        _concerns(wanted.service, record)
        and (record.failed or not wanted.errors)
        and wanted.method in ("", record.method)
        and record.path.startswith(wanted.path)
        and wanted.caller in ("", record.caller)
    )


def _concerns(service: str, record: Record) -> bool:
    if record.service == service and record.direction != "outbound":
        return True
    if record.callee != service or record.direction == "inbound":
        return False
    return not record.upstream_host or not UNSENT.isdisjoint(record.flags.split(","))
