"""How calls went over time: the histories of edges, of services and of gateways, bounded in number. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from control_plane.api.spiffe import Identity
from control_plane.telemetry import metrics
from control_plane.telemetry.counts import Counts
from control_plane.telemetry.series import HISTORY, Series

COARSE = 16.0
"""Seconds of a point of a service's trend: 56 of them are a quarter of an hour."""

EDGES_LIMIT = 4_000
"""Edges that have a history: 16 kB each; of one caller half of that."""

SUBJECTS_LIMIT = 2_000
"""Ports of services, and gateways, that have a history: 18 kB each; half of them first called by one."""


@dataclass(slots=True)
class Course:
    """The history of one port of a service, or of a gateway: fine, and coarse for its trend."""

    fine: Series = field(default_factory=Series)
    coarse: Series = field(default_factory=lambda: Series(COARSE))
    last: float = 0.0


@dataclass(slots=True)
class _Edge:
    series: Series = field(default_factory=Series)
    last: float = 0.0


class Courses:
    """All histories. `now` is the clock of the fold that feeds them."""

    def __init__(self) -> None:
        self._edges: dict[tuple[str, str], _Edge] = {}
        self._services: dict[str, Course] = {}
        self._gateways: dict[str, Course] = {}
        self._owners: dict[str, str] = {}
        self._edges_of: Counter[str] = Counter()
        self._first_called_by: Counter[str] = Counter()

    def note(self, caller: Identity, cluster: str, counts: Counts, now: float, seconds: float) -> None:
        """Add what `caller` told of `cluster` at `now` for the `seconds` before; quiet leaves no trace."""
        if not counts.any_request and not counts.wanted:
            return
        edge = self._edge(caller.name, cluster)
        if edge is not None:
            edge.last = now
            edge.series.add(counts, now, seconds)
        for course in self._subjects(caller, cluster):
            course.last = now
            course.fine.add(counts, now, seconds)
            course.coarse.add(counts, now, seconds)

    def edges(self, caller: str) -> Iterator[tuple[str, Series]]:
        """The histories of a caller's edges, by cluster."""
        return ((cluster, one.series) for (name, cluster), one in self._edges.items() if name == caller)

    def service(self, cluster: str) -> Course | None:
        """The history of all calls to a cluster, whatever its subset."""
        return self._services.get(cluster)

    def gateway(self, name: str) -> Course | None:
        """The history of all calls that a gateway makes."""
        return self._gateways.get(name)

    def sweep(self, now: float) -> None:
        """Forget histories that are over."""
        for key in [key for key, one in self._edges.items() if now - one.last >= HISTORY]:
            del self._edges[key]
            self._edges_of[key[0]] -= 1
        for name in [name for name, one in self._services.items() if now - one.last >= HISTORY]:
            del self._services[name]
            self._first_called_by[self._owners.pop(name)] -= 1
        for name in [name for name, one in self._gateways.items() if now - one.last >= HISTORY]:
            del self._gateways[name]

    def _edge(self, caller: str, cluster: str) -> _Edge | None:
        known = self._edges.get((caller, cluster))
        if known is not None:
            return known
        if len(self._edges) >= EDGES_LIMIT or self._edges_of[caller] >= EDGES_LIMIT // 2:
            metrics.EDGES_DROPPED.inc()
            return None
        self._edges_of[caller] += 1
        return self._edges.setdefault((caller, cluster), _Edge())

    def _subjects(self, caller: Identity, cluster: str) -> Iterator[Course]:
        room = caller.name in self._gateways or len(self._gateways) < SUBJECTS_LIMIT
        if caller.role == "gateway" and room:
            yield self._gateways.setdefault(caller.name, Course())
        called = cluster.partition("/")[0]
        known = self._services.get(called)
        if known is None:
            share = self._first_called_by[caller.name]
            if len(self._services) >= SUBJECTS_LIMIT or share >= SUBJECTS_LIMIT // 2:
                metrics.EDGES_DROPPED.inc()
                return
            self._first_called_by[caller.name] += 1
            self._owners[called] = caller.name
            known = self._services.setdefault(called, Course())
        yield known
