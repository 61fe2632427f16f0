"""The calls of the last hour by caller, service, method and path: what `mesh authz suggest` is made of. Pure.

Metrics count every call of a caller to a cluster. What was called is known of those requests whose record a
sidecar of the called service sends: traced, failed, refused and slow ones, and all of them during a tap. So
for each caller there is the number of its calls, and how many of them have been recorded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from meshwright.control_plane.telemetry.requests.operation_counts import CalledOperation, OperationCounts
from meshwright.control_plane.telemetry.requests.path_templates import template_of
from meshwright.control_plane.telemetry.requests.recent_count import REMEMBERED_SECONDS, RecentCount
from meshwright.control_plane.telemetry.requests.record import (
    GRPC_CONTENT_TYPE,
    MAX_VALUE_LENGTH,
    RequestRecord,
    caller_of,
)

MAX_PAIRS = 4_000
"""Pairs of a caller and a cluster, and of a caller and a service; one sender may have half of them."""

MAX_OPERATIONS = 10_000
"""Methods and paths of all pairs together, about 1 kB each; beyond, only that something was called."""

EXPIRY_SECONDS = 300.0

REFUSED_BY_RULES = "rbac_access_denied"
"""How the details of a response or connection begin that an Authorization refused."""

ANSWERED_BY_ROUTE = "direct_response"
"""The details of a response that a route of the sidecar gave to a probe, in place of the app."""

TCP = "TCP"
"""The method in records of TCP connections."""

Pair = tuple[str, str]
EntryT = TypeVar("EntryT")


@dataclass(frozen=True, slots=True)
class SeenCalls:
    """The calls of the last `seconds`.

    `edges`: requests and TCP connections by caller and cluster. By caller and service: `operations` that
    were recorded, and how many requests and connections rules refused (`refused`).
    """

    seconds: float = 0.0
    edges: Mapping[Pair, tuple[float, float]] = field(default_factory=dict)
    operations: Mapping[Pair, Mapping[CalledOperation, float]] = field(default_factory=dict)
    refused: Mapping[Pair, tuple[float, float]] = field(default_factory=dict)


@dataclass(slots=True)
class _Counts:
    requests: RecentCount = field(default_factory=RecentCount)
    connections: RecentCount = field(default_factory=RecentCount)

    def totals(self, seconds: float, now: float) -> tuple[float, float]:
        return self.requests.total(seconds, now), self.connections.total(seconds, now)

    def expire(self, now: float) -> bool:
        left = [self.requests.expire(now), self.connections.expire(now)]
        return any(left)


@dataclass(slots=True)
class _Recorded:
    """What the sidecars of a service say of a caller."""

    operations: OperationCounts = field(default_factory=OperationCounts)
    refused: _Counts = field(default_factory=_Counts)

    def expire(self, now: float) -> bool:
        left = [self.operations.expire(now), self.refused.expire(now)]
        return any(left)


class _Pairs(Generic[EntryT]):
    """Entries by pair, of which one element is the sender: it may have half of the room."""

    def __init__(self, create: Callable[[], EntryT], sender: int) -> None:
        self._create = create
        self._sender = sender
        self._of_sender: Counter[str] = Counter()
        self.entries: dict[Pair, EntryT] = {}

    def entry(self, pair: Pair) -> EntryT | None:
        """The entry of a pair, a new one if there is room."""
        entry = self.entries.get(pair)
        if entry is None:
            sender = pair[self._sender]
            if len(self.entries) >= MAX_PAIRS or self._of_sender[sender] >= MAX_PAIRS // 2:
                return None
            self._of_sender[sender] += 1
            entry = self.entries[pair] = self._create()
        return entry

    def retain(self, is_needed: Callable[[EntryT], bool]) -> None:
        """Remove all other entries."""
        self.entries = {pair: entry for pair, entry in self.entries.items() if is_needed(entry)}
        self._of_sender = Counter(pair[self._sender] for pair in self.entries)


class CallMemory:
    """The memory of one control plane, from `started_at`. Times are of any monotonic clock, in seconds."""

    def __init__(self, started_at: float, max_operations: int = MAX_OPERATIONS) -> None:
        self._started_at = self._expired_at = started_at
        self._max_operations = max_operations
        self._edges = _Pairs(_Counts, sender=0)
        self._recorded = _Pairs(_Recorded, sender=1)
        self._operations = 0
        self._traced: set[str] = set()

    def count(self, caller: str, cluster: str, requests: float, connections: float, now: float) -> None:
        """Add calls that the caller's sidecars counted."""
        self._expire(now)
        edge = self._edges.entry((caller, cluster)) if requests or connections else None
        if edge is not None:
            edge.requests.add(requests, now)
            edge.connections.add(connections, now)

    def discount(self, caller: str, cluster: str, requests: float, now: float) -> None:
        """Take back requests that the mesh made itself in the caller's name, and that its sidecars count."""
        edge = self._edges.entry((caller, cluster))
        if edge is not None:
            edge.requests.add(-requests, now)

    def add_record(self, record: RequestRecord, now: float) -> None:
        """Add a request that a sidecar logged when it received it.

        One that is traced is in the span log too, if the service has one: it counts once.
        """
        if record.direction != "inbound" or not record.caller or record.details == ANSWERED_BY_ROUTE:
            return
        if record.details.startswith(REFUSED_BY_RULES):
            recorded = self._recorded.entry((record.caller, record.service))
            if recorded is not None:
                refused = recorded.refused
                (refused.connections if record.method == TCP else refused.requests).add(1.0, now)
        elif record.path and not (record.sampled and record.service in self._traced):
            operation = CalledOperation(
                record.method, template_of(record.path, grpc=record.grpc), record.grpc
            )
            self._add(record.caller, record.service, operation, now)

    def add_traced(self, service: str, logged: Mapping[str, str], now: float) -> None:
        """Add a request of the span log of a service, by its attributes (core/span_log.py)."""
        self._traced.add(service)
        caller = caller_of("inbound", service, logged.get("peer", ""))
        if caller and not logged.get("details", "").startswith((REFUSED_BY_RULES, ANSWERED_BY_ROUTE)):
            grpc = logged.get("content_type", "").startswith(GRPC_CONTENT_TYPE)
            method = logged.get("method", "")[:MAX_VALUE_LENGTH]
            operation = CalledOperation(method, template_of(logged.get("path", ""), grpc=grpc), grpc)
            self._add(caller, service, operation, now)

    def since(self, seconds: float, now: float) -> SeenCalls:
        """The calls of the last `seconds`, or less, if this began later."""
        seconds = min(seconds, REMEMBERED_SECONDS, max(now - self._started_at, 0.0))
        recorded = self._recorded.entries
        return SeenCalls(
            seconds,
            {pair: edge.totals(seconds, now) for pair, edge in self._edges.entries.items()},
            {pair: entry.operations.totals(seconds, now) for pair, entry in recorded.items()},
            {pair: entry.refused.totals(seconds, now) for pair, entry in recorded.items()},
        )

    def _add(self, caller: str, service: str, operation: CalledOperation, now: float) -> None:
        self._expire(now)
        recorded = self._recorded.entry((caller, service))
        if recorded is not None:
            before = len(recorded.operations)
            recorded.operations.add(operation, now, has_room=self._operations < self._max_operations)
            self._operations += len(recorded.operations) - before

    def _expire(self, now: float) -> None:
        """Forget what was last called more than an hour ago."""
        if now - self._expired_at >= EXPIRY_SECONDS:
            self._expired_at = now
            self._edges.retain(lambda edge: edge.expire(now))
            self._recorded.retain(lambda entry: entry.expire(now))
            self._operations = sum(len(entry.operations) for entry in self._recorded.entries.values())
