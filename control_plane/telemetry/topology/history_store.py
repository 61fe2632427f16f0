"""The histories of edges, services and gateways, bounded in number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from meshwright.control_plane.api.cluster_names import is_external_node, parse_cluster_name
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.telemetry import metrics
from meshwright.control_plane.telemetry.topology.counters import UpstreamCounters
from meshwright.control_plane.telemetry.topology.timeseries import HISTORY_SECONDS, TimeSeries

TREND_STEP = 16.0
"""Seconds of one point of a service's trend; 56 points cover a quarter of an hour."""

MAX_EDGES = 4_000
"""Edges with a history, 16 kB each. One caller may have half of them."""

MAX_SUBJECTS = 2_000
"""Ports of services, and gateways, with a history, 18 kB each. One caller may add half of them."""


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
    """What a series is about. `kind` is `edge`, `service`, `gateway`, `service trend` or `gateway trend`.

    For a service `caller` is the first one that called it. `idle_seconds` is the time since the last update,
    `age` that since the first point.
    """

    kind: str
    caller: str
    cluster: str
    idle_seconds: float
    age: float


class HistoryStore:
    """All histories. `now` is the clock of the signal handlers."""

    def __init__(self) -> None:
        self._edges: dict[tuple[str, str], _EdgeHistory] = {}
        self._services: dict[str, TrafficHistory] = {}
        self._gateways: dict[str, TrafficHistory] = {}
        self._first_callers: dict[str, str] = {}
        self._edges_of: Counter[str] = Counter()
        self._services_of: Counter[str] = Counter()

    def record(
        self, caller: Identity, cluster: str, counters: UpstreamCounters, now: float, seconds: float
    ) -> None:
        """Add the traffic from `caller` to `cluster` in the `seconds` before `now`."""
        if not counters.has_requests and not counters.connection_attempts:
            return
        edge = self._edge(caller.name, cluster)
        if edge is not None:
            edge.updated_at = now
            edge.series.add(counters, now, seconds)
        for history in self._subjects(caller, cluster):
            history.updated_at = now
            history.fine.add(counters, now, seconds)
            history.coarse.add(counters, now, seconds)

    def edges(self, caller: str) -> Iterator[tuple[str, TimeSeries]]:
        """The histories of a caller's edges, by cluster."""
        return ((cluster, edge.series) for (name, cluster), edge in self._edges.items() if name == caller)

    def all_edges(self) -> Iterator[tuple[str, str, TimeSeries]]:
        """The histories of all edges: caller, cluster, series."""
        return ((caller, cluster, edge.series) for (caller, cluster), edge in self._edges.items())

    def service(self, cluster: str) -> TrafficHistory | None:
        """The history of all calls to a cluster, including those to its subsets."""
        return self._services.get(cluster)

    def clusters(self, node: str) -> Iterator[str]:
        """The clusters of a node of the topology that have a history."""
        return (cluster for cluster in self._services if parse_cluster_name(cluster).service == node)

    def gateway(self, name: str) -> TrafficHistory | None:
        """The history of all calls a gateway makes."""
        return self._gateways.get(name)

    def serialize(self, now: float, limit: int) -> Iterator[tuple[SeriesKey, bytes]]:
        """Up to `limit` series for `merge`, the most recently updated first."""
        series: list[tuple[float, tuple[str, str, str], TimeSeries]] = []
        for (caller, cluster), edge in self._edges.items():
            series.append((edge.updated_at, ("edge", caller, cluster), edge.series))
        for cluster, history in self._services.items():
            caller = self._first_callers[cluster]
            series.append((history.updated_at, ("service", caller, cluster), history.fine))
            series.append((history.updated_at, ("service trend", caller, cluster), history.coarse))
        for name, history in self._gateways.items():
            series.append((history.updated_at, ("gateway", name, ""), history.fine))
            series.append((history.updated_at, ("gateway trend", name, ""), history.coarse))
        series.sort(key=lambda item: item[0], reverse=True)
        for updated_at, subject, points in series[:limit]:
            age, body = points.serialize(now)
            yield SeriesKey(*subject, now - updated_at, age), body

    def merge(self, key: SeriesKey, body: bytes, now: float) -> None:
        """Add a series of another control plane. Raises ValueError for bytes that are not one."""
        kind, _, trend = key.kind.partition(" ")
        updated_at = now - key.idle_seconds
        if kind == "edge":
            edge = self._edge(key.caller, key.cluster)
            if edge is not None:
                edge.updated_at = max(edge.updated_at, updated_at)
                edge.series.merge(key.age, body, now)
            return
        history = self._service(key.caller, key.cluster) if kind == "service" else self._gateway(key.caller)
        if history is not None:
            history.updated_at = max(history.updated_at, updated_at)
            (history.coarse if trend else history.fine).merge(key.age, body, now)

    def expire(self, now: float) -> None:
        """Forget histories whose last point is too old."""
        for key in [key for key, edge in self._edges.items() if now - edge.updated_at >= HISTORY_SECONDS]:
            del self._edges[key]
            self._edges_of[key[0]] -= 1
        for cluster in _expired(self._services, now):
            del self._services[cluster]
            self._services_of[self._first_callers.pop(cluster)] -= 1
        for name in _expired(self._gateways, now):
            del self._gateways[name]

    def _edge(self, caller: str, cluster: str) -> _EdgeHistory | None:
        edge = self._edges.get((caller, cluster))
        if edge is not None:
            return edge
        if len(self._edges) >= MAX_EDGES or self._edges_of[caller] >= MAX_EDGES // 2:
            metrics.EDGES_DROPPED.inc()
            return None
        self._edges_of[caller] += 1
        return self._edges.setdefault((caller, cluster), _EdgeHistory())

    def _subjects(self, caller: Identity, cluster: str) -> Iterator[TrafficHistory]:
        gateway = self._gateway(caller.name) if caller.role == "gateway" else None
        outside = is_external_node(parse_cluster_name(cluster).service)
        service = self._service(caller.name, cluster if outside else cluster.partition("/")[0])
        yield from (history for history in (gateway, service) if history is not None)

    def _gateway(self, name: str) -> TrafficHistory | None:
        has_room = name in self._gateways or len(self._gateways) < MAX_SUBJECTS
        return self._gateways.setdefault(name, TrafficHistory()) if has_room else None

    def _service(self, caller: str, cluster: str) -> TrafficHistory | None:
        history = self._services.get(cluster)
        if history is not None:
            return history
        if len(self._services) >= MAX_SUBJECTS or self._services_of[caller] >= MAX_SUBJECTS // 2:
            metrics.EDGES_DROPPED.inc()
            return None
        self._services_of[caller] += 1
        self._first_callers[cluster] = caller
        return self._services.setdefault(cluster, TrafficHistory())


def _expired(histories: dict[str, TrafficHistory], now: float) -> list[str]:
    return [name for name, history in histories.items() if now - history.updated_at >= HISTORY_SECONDS]
