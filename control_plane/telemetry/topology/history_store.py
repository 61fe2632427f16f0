"""How calls went over time: the histories of edges, of services and of gateways, bounded in number. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.telemetry import metrics
from meshwright.control_plane.telemetry.topology.counters import UpstreamCounters
from meshwright.control_plane.telemetry.topology.timeseries import HISTORY_SECONDS, TimeSeries

TREND_STEP = 16.0
"""Seconds of a point of a service's trend: 56 of them are a quarter of an hour."""

MAX_EDGES = 4_000
"""Edges that have a history: 16 kB each; of one caller half of that."""

MAX_SUBJECTS = 2_000
"""Ports of services, and gateways, that have a history: 18 kB each; half of them first called by one."""


@dataclass(slots=True)
class TrafficHistory:
    """The history of one port of a service, or of a gateway: fine, and coarse for its trend."""

    fine: TimeSeries = field(default_factory=TimeSeries)
    coarse: TimeSeries = field(default_factory=lambda: TimeSeries(TREND_STEP))
    updated_at: float = 0.0


@dataclass(slots=True)
class _EdgeHistory:
    series: TimeSeries = field(default_factory=TimeSeries)
    updated_at: float = 0.0


class SeriesKey(NamedTuple):
    """Whose history one is. `kind`: edge, service, gateway, or the latter two's trend; `caller` of a service
    called it first. `silent`: seconds since it was added to last; `age` of its first point.
    """

    kind: str
    caller: str
    cluster: str
    idle_seconds: float
    age: float


class HistoryStore:
    """All histories. `now` is the clock of the fold that feeds them."""

    def __init__(self) -> None:
        self._edges: dict[tuple[str, str], _EdgeHistory] = {}
        self._services: dict[str, TrafficHistory] = {}
        self._gateways: dict[str, TrafficHistory] = {}
        self._first_callers: dict[str, str] = {}
        self._edges_of: Counter[str] = Counter()
        self._services_of: Counter[str] = Counter()

    def record(
        self, caller: Identity, cluster: str, counts: UpstreamCounters, now: float, seconds: float
    ) -> None:
        """Add what `caller` told of `cluster` at `now` for the `seconds` before; quiet leaves no trace."""
        if not counts.has_requests and not counts.connection_attempts:
            return
        edge = self._edge(caller.name, cluster)
        if edge is not None:
            edge.updated_at = now
            edge.series.add(counts, now, seconds)
        for course in self._subjects(caller, cluster):
            course.updated_at = now
            course.fine.add(counts, now, seconds)
            course.coarse.add(counts, now, seconds)

    def edges(self, caller: str) -> Iterator[tuple[str, TimeSeries]]:
        """The histories of a caller's edges, by cluster."""
        return ((cluster, one.series) for (name, cluster), one in self._edges.items() if name == caller)

    def service(self, cluster: str) -> TrafficHistory | None:
        """The history of all calls to a cluster, whatever its subset."""
        return self._services.get(cluster)

    def gateway(self, name: str) -> TrafficHistory | None:
        """The history of all calls that a gateway makes."""
        return self._gateways.get(name)

    def serialize(self, now: float, limit: int) -> Iterator[tuple[SeriesKey, bytes]]:
        """The histories that were added to last, at most so many series, for `absorb`."""
        found: list[tuple[float, tuple[str, str, str], TimeSeries]] = []
        for (caller, cluster), edge in self._edges.items():
            found.append((edge.updated_at, ("edge", caller, cluster), edge.series))
        for cluster, course in self._services.items():
            found.append((course.updated_at, ("service", self._first_callers[cluster], cluster), course.fine))
            found.append(
                (course.updated_at, ("service trend", self._first_callers[cluster], cluster), course.coarse)
            )
        for name, course in self._gateways.items():
            found.append((course.updated_at, ("gateway", name, ""), course.fine))
            found.append((course.updated_at, ("gateway trend", name, ""), course.coarse))
        found.sort(key=lambda one: one[0], reverse=True)
        for last, names, series in found[:limit]:
            age, body = series.serialize(now)
            yield SeriesKey(*names, now - last, age), body

    def merge(self, key: SeriesKey, body: bytes, now: float) -> None:
        """Add a history that another control plane has `written`; raises ValueError."""
        kind, _, trend = key.kind.partition(" ")
        last = now - key.idle_seconds
        if kind == "edge":
            edge = self._edge(key.caller, key.cluster)
            if edge is not None:
                edge.updated_at = max(edge.updated_at, last)
                edge.series.merge(key.age, body, now)
            return
        course = self._service(key.caller, key.cluster) if kind == "service" else self._gateway(key.caller)
        if course is not None:
            course.updated_at = max(course.updated_at, last)
            (course.coarse if trend else course.fine).merge(key.age, body, now)

    def expire(self, now: float) -> None:
        """Forget histories that are over."""
        for key in [key for key, one in self._edges.items() if now - one.updated_at >= HISTORY_SECONDS]:
            del self._edges[key]
            self._edges_of[key[0]] -= 1
        for name in [name for name, one in self._services.items() if now - one.updated_at >= HISTORY_SECONDS]:
            del self._services[name]
            self._services_of[self._first_callers.pop(name)] -= 1
        for name in [name for name, one in self._gateways.items() if now - one.updated_at >= HISTORY_SECONDS]:
            del self._gateways[name]

    def _edge(self, caller: str, cluster: str) -> _EdgeHistory | None:
        known = self._edges.get((caller, cluster))
        if known is not None:
            return known
        if len(self._edges) >= MAX_EDGES or self._edges_of[caller] >= MAX_EDGES // 2:
            metrics.EDGES_DROPPED.inc()
            return None
        self._edges_of[caller] += 1
        return self._edges.setdefault((caller, cluster), _EdgeHistory())

    def _subjects(self, caller: Identity, cluster: str) -> Iterator[TrafficHistory]:
        gateway = self._gateway(caller.name) if caller.role == "gateway" else None
        service = self._service(caller.name, cluster.partition("/")[0])
        yield from (one for one in (gateway, service) if one is not None)

    def _gateway(self, name: str) -> TrafficHistory | None:
        room = name in self._gateways or len(self._gateways) < MAX_SUBJECTS
        return self._gateways.setdefault(name, TrafficHistory()) if room else None

    def _service(self, caller: str, called: str) -> TrafficHistory | None:
        known = self._services.get(called)
        if known is not None:
            return known
        share = self._services_of[caller]
        if len(self._services) >= MAX_SUBJECTS or share >= MAX_SUBJECTS // 2:
            metrics.EDGES_DROPPED.inc()
            return None
        self._services_of[caller] += 1
        self._first_callers[called] = caller
        return self._services.setdefault(called, TrafficHistory())
