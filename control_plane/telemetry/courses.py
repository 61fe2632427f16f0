"""How calls went over time: the histories of edges, of services and of gateways, bounded in number. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

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


class Label(NamedTuple):
    """Whose history one is. `kind`: edge, service, gateway, or the latter two's trend; `caller` of a service
    called it first. `silent`: seconds since it was added to last; `age` of its first point.
    """

    kind: str
    caller: str
    cluster: str
    silent: float
    age: float


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

    def written(self, now: float, most: int) -> Iterator[tuple[Label, bytes]]:
        """The histories that were added to last, at most so many series, for `absorb`."""
        found: list[tuple[float, tuple[str, str, str], Series]] = []
        for (caller, cluster), edge in self._edges.items():
            found.append((edge.last, ("edge", caller, cluster), edge.series))
        for cluster, course in self._services.items():
            found.append((course.last, ("service", self._owners[cluster], cluster), course.fine))
            found.append((course.last, ("service trend", self._owners[cluster], cluster), course.coarse))
        for name, course in self._gateways.items():
            found.append((course.last, ("gateway", name, ""), course.fine))
            found.append((course.last, ("gateway trend", name, ""), course.coarse))
        found.sort(key=lambda one: one[0], reverse=True)
        for last, names, series in found[:most]:
            age, body = series.written(now)
            yield Label(*names, now - last, age), body

    def absorb(self, label: Label, body: bytes, now: float) -> None:
        """Add a history that another control plane has `written`; raises ValueError."""
        kind, _, trend = label.kind.partition(" ")
        last = now - label.silent
        if kind == "edge":
            edge = self._edge(label.caller, label.cluster)
            if edge is not None:
                edge.last = max(edge.last, last)
                edge.series.absorb(label.age, body, now)
            return
        course = (
            self._service(label.caller, label.cluster) if kind == "service" else self._gateway(label.caller)
        )
        if course is not None:
            course.last = max(course.last, last)
            (course.coarse if trend else course.fine).absorb(label.age, body, now)

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
        gateway = self._gateway(caller.name) if caller.role == "gateway" else None
        service = self._service(caller.name, cluster.partition("/")[0])
        yield from (one for one in (gateway, service) if one is not None)

    def _gateway(self, name: str) -> Course | None:
        room = name in self._gateways or len(self._gateways) < SUBJECTS_LIMIT
        return self._gateways.setdefault(name, Course()) if room else None

    def _service(self, caller: str, called: str) -> Course | None:
        known = self._services.get(called)
        if known is not None:
            return known
        share = self._first_called_by[caller]
        if len(self._services) >= SUBJECTS_LIMIT or share >= SUBJECTS_LIMIT // 2:
            metrics.EDGES_DROPPED.inc()
            return None
        self._first_called_by[caller] += 1
        self._owners[called] = caller
        return self._services.setdefault(called, Course())
