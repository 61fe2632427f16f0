"""The fold of metrics: what each sidecar told of each cluster it calls, for the time that is shown. Pure.

A flow is one node's traffic to one cluster. Envoy tells deltas, each with the time it covers; rates are what
was told within WINDOW divided by the time that this covers, so that no jitter between flushes shows as load.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from control_plane.api.spiffe import Identity, valid_name
from control_plane.telemetry import histogram, metrics
from control_plane.telemetry.counts import FIELDS, LATENCY, Counts
from control_plane.telemetry.courses import Courses
from control_plane.telemetry.decode import INBOUND, MalformedError, Point, Told
from control_plane.telemetry.decode import metrics as decoded
from control_plane.telemetry.journal import Journal

WINDOW = 10.0
"""Seconds over which rates, success and latency are shown."""

FADES = 60.0
"""Seconds without traffic after which an edge is no longer shown, and a silent node is forgotten."""

EVERY = 2.0
"""Seconds between two flushes of a sidecar: assumed where it does not tell."""

LATE = 2.5 * EVERY
"""Seconds of silence that are no news; beyond, silence counts as time without traffic."""

SLICE = 32
"""Points that are read at a time: well below a millisecond of work."""

NODES_LIMIT = 500
"""Nodes of one identity that are known."""

CLUSTERS_LIMIT = 1_000
"""Clusters of one node that are known."""

FLOWS_LIMIT = 20_000
"""Flows of all nodes together; of one identity a fifth of that."""

_COUNTED = re.compile(r"(grpc|injected)\.\d+")

GAUGES = {
    "outlier_detection.ejections_active": "ejected",
    "membership_total": "hosts",
    "upstream_cx_active": "open",
}
"""Envoy's gauges of a cluster → fields of Flow."""


@dataclass(slots=True)
class Flush:
    """What one message of one node tells, read and not yet kept. `end` by the node's clock, in ns."""

    counts: dict[str, Counts] = field(default_factory=dict)
    inbound: Counts = field(default_factory=Counts)
    gauges: list[Point] = field(default_factory=list)
    seconds: float = 0.0
    end: int = 0

    def note(self, point: Point) -> None:
        """Add a point; statistics that nobody asks for, and clusters that are no service, are passed over."""
        if point.cluster == INBOUND:
            self.inbound.answered += point.value
            self.inbound.failed += point.value if point.stat.endswith("_5xx") else 0.0
        if point.cluster.startswith("/"):
            return
        if point.stat in GAUGES:
            self.gauges.append(point)
            return
        if point.stat == LATENCY:
            histogram.add(self._of(point.cluster).spread, point.spread or {})
        elif point.stat in FIELDS or _COUNTED.fullmatch(point.stat):
            self._of(point.cluster).count(point.stat, point.value)
        else:
            return
        self.seconds, self.end = max(self.seconds, point.seconds), max(self.end, point.end)

    def _of(self, cluster: str) -> Counts:
        return self.counts.setdefault(cluster, Counts())


class Handed(NamedTuple):
    """What one node told, as it is kept and handed on to other control planes."""

    identity: Identity
    node: str
    flush: Flush


@dataclass(slots=True)
class Flow:
    """One node's traffic to one cluster, `open` connections at its last flush.

    Times by the clock of `now`, -inf: never. `wanted` is when a connection was last asked for, `connected`
    when one was made, `opened` when some were last known to be open.
    """

    samples: deque[tuple[float, Counts]] = field(default_factory=deque)
    ejected: int = 0
    hosts: int = 0
    open: int = 0
    is_grpc: bool = False
    requested: float = float("-inf")
    wanted: float = float("-inf")
    connected: float = float("-inf")
    opened: float = float("-inf")
    secured: float = float("-inf")
    _recent: Counts = field(default_factory=Counts)

    def recent(self, now: float) -> Counts:
        """The sums of the last WINDOW, not to be changed, and as they are until the next flush."""
        self._forget(now)
        return self._recent

    def note(self, counts: Counts, now: float) -> None:
        """Add one flush, whose counts are then final."""
        self.is_grpc = self.is_grpc or counts.statuses > 0
        counts.settle(self.is_grpc)
        self.samples.append((now, counts))
        self._recent.add(counts)
        if counts.any_request:
            self.requested = now
        if counts.wanted:
            self.wanted = now
        if counts.connections - counts.connect_failures > 0:
            self.connected = now
        if counts.handshakes:
            self.secured = now
        self._forget(now)

    def _forget(self, now: float) -> None:
        """Take out what is older than WINDOW: exactly, for flushes count in whole numbers."""
        while self.samples and self.samples[0][0] <= now - WINDOW:
            self._recent.add(self.samples.popleft()[1], -1.0)
        if not self.samples:
            self._recent = Counts()


@dataclass(slots=True)
class Node:
    """One sidecar: the flushes of late as (when it came, seconds it covers), and its flows by cluster.

    `inbound` is what it answered to those who call its own service.
    """

    heard: float
    flushes: deque[tuple[float, float]] = field(default_factory=deque)
    last_end: int = 0
    flows: dict[str, Flow] = field(default_factory=dict)
    inbound: Flow = field(default_factory=Flow)

    def covered(self, now: float) -> float:
        """Seconds that what was told within WINDOW tells about."""
        told = sum(seconds for came, seconds in self.flushes if came > now - WINDOW)
        silent = now - self.heard
        return told + (silent if silent > LATE else 0.0)


@dataclass(frozen=True, slots=True)
class Seen:
    """One node's flow as it is now: sums of the last WINDOW and the seconds they cover."""

    caller: Identity
    cluster: str
    flow: Flow
    counts: Counts
    seconds: float


class Flows:
    """All flows. `now` is any clock that only goes forward, in seconds."""

    def __init__(self, fades: float = FADES) -> None:
        self.fades = fades
        self.courses = Courses()
        self.journal: Journal[Handed] = Journal()
        self.folding = 0
        self._nodes: dict[Identity, dict[str, Node]] = {}
        self._count = 0
        self._swept = 0.0

    def take(self, identity: Identity, body: bytes, now: float) -> Iterator[None]:
        """Fold an ExportMetricsServiceRequest of `identity`, a slice of work at a time.

        What is malformed, or speaks for another, is counted and left out.
        """
        try:
            for told in decoded(body):
                if told is None:
                    yield
                else:
                    yield from self._fold(identity, told, now)
        except MalformedError:
            metrics.DROPPED.labels("malformed").inc()

    def seen(self, now: float) -> Iterator[Seen]:
        """Every flow that had traffic or open connections within the time after which edges fade."""
        for identity, nodes in self._nodes.items():
            for node in nodes.values():
                seconds = node.covered(now)
                for cluster, flow in node.flows.items():
                    if now - max(flow.requested, flow.wanted, flow.opened) < self.fades:
                        yield Seen(identity, cluster, flow, flow.recent(now), seconds)

    def answered(self, now: float) -> dict[str, tuple[float, float]]:
        """What the inbound proxies of each service answered within WINDOW, and how much of it was 5xx."""
        found: dict[str, tuple[float, float]] = {}
        for identity, nodes in self._nodes.items():
            if identity.role == "service":
                own = [node.inbound.recent(now) for node in nodes.values()]
                found[identity.name] = (sum(one.answered for one in own), sum(one.failed for one in own))
        return found

    def _fold(self, identity: Identity, told: Told, now: float) -> Iterator[None]:
        if told.service != identity.name or not valid_name(told.node):
            metrics.DROPPED.labels("foreign").inc()
            return
        flush = Flush()
        for number, point in enumerate(told.points, 1):
            if number % SLICE == 0:
                yield
            if point is not None:
                flush.note(point)
        handed = Handed(identity, told.node, flush)
        self.folding += 1
        try:
            yield from self.keep(handed, now)
            self.journal.note(handed, now)
        finally:
            self.folding -= 1

    def keep(self, told: Handed, now: float, *, remember: bool = True) -> Iterator[None]:
        """Take over what was read at `now`, here or by another control plane, a slice of work at a time.

        Without `remember` it is no part of the histories: they have it already.
        """
        if now - self._swept >= self.fades / 4:
            self._sweep(now)
        identity, flush = told.identity, told.flush
        node = self._node(identity, told.node, now)
        if node is None:
            metrics.DROPPED.labels("limit").inc()
            return
        seconds = flush.seconds if 0 < flush.seconds <= FADES else EVERY
        self._heard(node, now, seconds, flush.end)
        if flush.inbound.answered:
            node.inbound.note(flush.inbound, now)
        for cluster, counts in flush.counts.items():
            yield
            flow = self._flow(identity, node, cluster)
            if flow is not None:
                flow.note(counts, now)
                if remember:
                    self.courses.note(identity, cluster, counts, now, seconds)
        self._gauge(identity, node, flush.gauges, now)

    def _gauge(self, identity: Identity, node: Node, gauges: Iterable[Point], now: float) -> None:
        for point in gauges:
            flow = self._flow(identity, node, point.cluster)
            if flow is not None:
                setattr(flow, GAUGES[point.stat], int(point.value))
                if GAUGES[point.stat] == "open" and flow.open:
                    flow.opened = now

    def _heard(self, node: Node, now: float, seconds: float, end: int) -> None:
        """Put a flush on record; one that comes in several messages counts once."""
        node.heard = max(now, node.heard)
        if end and end == node.last_end:
            return
        node.last_end = end
        node.flushes.append((now, seconds))
        while node.flushes[0][0] <= now - WINDOW:
            node.flushes.popleft()

    def _node(self, identity: Identity, name: str, now: float) -> Node | None:
        nodes = self._nodes.setdefault(identity, {})
        if name not in nodes and len(nodes) >= NODES_LIMIT:
            return None
        return nodes.setdefault(name, Node(now))

    def _flow(self, identity: Identity, node: Node, cluster: str) -> Flow | None:
        found = node.flows.get(cluster)
        if found is not None:
            return found
        own = sum(len(one.flows) for one in self._nodes[identity].values())
        full = self._count >= FLOWS_LIMIT or own >= FLOWS_LIMIT // 5
        if full or len(node.flows) >= CLUSTERS_LIMIT or len(cluster) > 256:
            metrics.EDGES_DROPPED.inc()
            return None
        self._count += 1
        node.flows[cluster] = Flow()
        return node.flows[cluster]

    def _sweep(self, now: float) -> None:
        """Forget nodes that are silent and histories that are over."""
        self._swept = now
        for identity, nodes in list(self._nodes.items()):
            for name in [name for name, node in nodes.items() if now - node.heard >= self.fades]:
                self._count -= len(nodes.pop(name).flows)
            if not nodes:
                del self._nodes[identity]
        self.courses.sweep(now)
