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

from meshwright.control_plane.api.spiffe import Identity, valid_name
from meshwright.control_plane.telemetry import metrics
from meshwright.control_plane.telemetry.ingest.envoy_stats import (
    INBOUND,
    MalformedError,
    NodeMetrics,
    StatPoint,
)
from meshwright.control_plane.telemetry.ingest.envoy_stats import parse_metrics as decoded
from meshwright.control_plane.telemetry.topology import histogram
from meshwright.control_plane.telemetry.topology.counters import (
    COUNTER_FIELDS,
    LATENCY_STAT,
    UpstreamCounters,
)
from meshwright.control_plane.telemetry.topology.history_store import HistoryStore
from meshwright.control_plane.telemetry.topology.replication_log import ReplicationLog

WINDOW = 10.0
"""Seconds over which rates, success and latency are shown."""

EDGE_TTL = 60.0
"""Seconds without traffic after which an edge is no longer shown, and a silent node is forgotten."""

FLUSH_INTERVAL = 2.0
"""Seconds between two flushes of a sidecar: assumed where it does not tell."""

FLUSH_GRACE = 2.5 * FLUSH_INTERVAL
"""Seconds of silence that are no news; beyond, silence counts as time without traffic."""

POINTS_PER_STEP = 32
"""Points that are read at a time: well below a millisecond of work."""

MAX_NODES_PER_IDENTITY = 500
"""Nodes of one identity that are known."""

MAX_CLUSTERS_PER_NODE = 1_000
"""Clusters of one node that are known."""

MAX_CLUSTERS = 20_000
"""Flows of all nodes together; of one identity a fifth of that."""

_STATUS_COUNTER = re.compile(r"(grpc|injected)\.\d+")

GAUGE_FIELDS = {
    "outlier_detection.ejections_active": "ejected",
    "membership_total": "hosts",
    "upstream_cx_active": "open",
}
"""Envoy's gauges of a cluster → fields of Flow."""


@dataclass(slots=True)
class MetricsFlush:
    """What one message of one node tells, read and not yet kept. `end` by the node's clock, in ns."""

    clusters: dict[str, UpstreamCounters] = field(default_factory=dict)
    inbound: UpstreamCounters = field(default_factory=UpstreamCounters)
    gauges: list[StatPoint] = field(default_factory=list)
    seconds: float = 0.0
    end_ns: int = 0

    def add(self, point: StatPoint) -> None:
        """Add a point; statistics that nobody asks for, and clusters that are no service, are passed over."""
        if point.cluster == INBOUND:
            self.inbound.completed += point.value
            self.inbound.failed += point.value if point.stat.endswith("_5xx") else 0.0
        if point.cluster.startswith("/"):
            return
        if point.stat in GAUGE_FIELDS:
            self.gauges.append(point)
            return
        if point.stat == LATENCY_STAT:
            histogram.add(self._counters_of(point.cluster).latency_buckets, point.buckets or {})
        elif point.stat in COUNTER_FIELDS or _STATUS_COUNTER.fullmatch(point.stat):
            self._counters_of(point.cluster).count(point.stat, point.value)
        else:
            return
        self.seconds, self.end_ns = max(self.seconds, point.seconds), max(self.end_ns, point.end)

    def _counters_of(self, cluster: str) -> UpstreamCounters:
        return self.clusters.setdefault(cluster, UpstreamCounters())


class NodeFlush(NamedTuple):
    """What one node told, as it is kept and handed on to other control planes."""

    identity: Identity
    node: str
    flush: MetricsFlush


@dataclass(slots=True)
class ClusterTraffic:
    """One node's traffic to one cluster, `open` connections at its last flush.

    Times by the clock of `now`, -inf: never. `wanted` is when a connection was last asked for, `connected`
    when one was made, `opened` when some were last known to be open.
    """

    samples: deque[tuple[float, UpstreamCounters]] = field(default_factory=deque)
    ejected: int = 0
    hosts: int = 0
    open_connections: int = 0
    is_grpc: bool = False
    last_request: float = float("-inf")
    last_connection_attempt: float = float("-inf")
    last_connected: float = float("-inf")
    last_open: float = float("-inf")
    last_handshake: float = float("-inf")
    _recent: UpstreamCounters = field(default_factory=UpstreamCounters)

    def recent(self, now: float) -> UpstreamCounters:
        """The sums of the last WINDOW, not to be changed, and as they are until the next flush."""
        self._expire(now)
        return self._recent

    def record(self, counts: UpstreamCounters, now: float) -> None:
        """Add one flush, whose counts are then final."""
        self.is_grpc = self.is_grpc or counts.grpc_completed > 0
        counts.finalize(self.is_grpc)
        self.samples.append((now, counts))
        self._recent.add(counts)
        if counts.has_requests:
            self.last_request = now
        if counts.connection_attempts:
            self.last_connection_attempt = now
        if counts.connections - counts.connect_failures > 0:
            self.last_connected = now
        if counts.tls_handshakes:
            self.last_handshake = now
        self._expire(now)

    def _expire(self, now: float) -> None:
        """Take out what is older than WINDOW: exactly, for flushes count in whole numbers."""
        while self.samples and self.samples[0][0] <= now - WINDOW:
            self._recent.add(self.samples.popleft()[1], -1.0)
        if not self.samples:
            self._recent = UpstreamCounters()


@dataclass(slots=True)
class NodeTraffic:
    """One sidecar: the flushes of late as (when it came, seconds it covers), and its flows by cluster.

    `inbound` is what it answered to those who call its own service.
    """

    last_seen: float
    flushes: deque[tuple[float, float]] = field(default_factory=deque)
    last_end_ns: int = 0
    clusters: dict[str, ClusterTraffic] = field(default_factory=dict)
    inbound: ClusterTraffic = field(default_factory=ClusterTraffic)

    def covered_seconds(self, now: float) -> float:
        """Seconds that what was told within WINDOW tells about."""
        told = sum(seconds for came, seconds in self.flushes if came > now - WINDOW)
        silent = now - self.last_seen
        return told + (silent if silent > FLUSH_GRACE else 0.0)


@dataclass(frozen=True, slots=True)
class TrafficSample:
    """One node's flow as it is now: sums of the last WINDOW and the seconds they cover."""

    caller: Identity
    cluster: str
    traffic: ClusterTraffic
    counters: UpstreamCounters
    seconds: float


class TrafficWindows:
    """All flows. `now` is any clock that only goes forward, in seconds."""

    def __init__(self, edge_ttl: float = EDGE_TTL) -> None:
        self.edge_ttl = edge_ttl
        self.history = HistoryStore()
        self.replication_log: ReplicationLog[NodeFlush] = ReplicationLog()
        self.in_progress = 0
        self._nodes: dict[Identity, dict[str, NodeTraffic]] = {}
        self._count = 0
        self._expired_at = 0.0

    def handle(self, identity: Identity, body: bytes, now: float) -> Iterator[None]:
        """Fold an ExportMetricsServiceRequest of `identity`, a slice of work at a time.

        What is malformed, or speaks for another, is counted and left out.
        """
        try:
            for told in decoded(body):
                if told is None:
                    yield
                else:
                    yield from self._handle_node(identity, told, now)
        except MalformedError:
            metrics.DROPPED.labels("malformed").inc()

    def samples(self, now: float) -> Iterator[TrafficSample]:
        """Every flow that had traffic or open connections within the time after which edges fade."""
        for identity, nodes in self._nodes.items():
            for node in nodes.values():
                seconds = node.covered_seconds(now)
                for cluster, flow in node.clusters.items():
                    if (
                        now - max(flow.last_request, flow.last_connection_attempt, flow.last_open)
                        < self.edge_ttl
                    ):
                        yield TrafficSample(identity, cluster, flow, flow.recent(now), seconds)

    def inbound_results(self, now: float) -> dict[str, tuple[float, float]]:
        """What the inbound proxies of each service answered within WINDOW, and how much of it was 5xx."""
        found: dict[str, tuple[float, float]] = {}
        for identity, nodes in self._nodes.items():
            if identity.role == "service":
                own = [node.inbound.recent(now) for node in nodes.values()]
                found[identity.name] = (sum(one.completed for one in own), sum(one.failed for one in own))
        return found

    def _handle_node(self, identity: Identity, told: NodeMetrics, now: float) -> Iterator[None]:
        if told.service != identity.name or not valid_name(told.node):
            metrics.DROPPED.labels("foreign").inc()
            return
        flush = MetricsFlush()
        for number, point in enumerate(told.points, 1):
            if number % POINTS_PER_STEP == 0:
                yield
            if point is not None:
                flush.add(point)
        handed = NodeFlush(identity, told.node, flush)
        self.in_progress += 1
        try:
            yield from self.ingest(handed, now)
            self.replication_log.append(handed, now)
        finally:
            self.in_progress -= 1

    def ingest(self, node_flush: NodeFlush, now: float, *, record_history: bool = True) -> Iterator[None]:
        """Take over what was read at `now`, here or by another control plane, a slice of work at a time.

        Without `remember` it is no part of the histories: they have it already.
        """
        if now - self._expired_at >= self.edge_ttl / 4:
            self._expire(now)
        identity, flush = node_flush.identity, node_flush.flush
        node = self._node(identity, node_flush.node, now)
        if node is None:
            metrics.DROPPED.labels("limit").inc()
            return
        seconds = flush.seconds if 0 < flush.seconds <= EDGE_TTL else FLUSH_INTERVAL
        self._record_flush(node, now, seconds, flush.end_ns)
        if flush.inbound.completed:
            node.inbound.record(flush.inbound, now)
        for cluster, counts in flush.clusters.items():
            yield
            flow = self._cluster(identity, node, cluster)
            if flow is not None:
                flow.record(counts, now)
                if record_history:
                    self.history.record(identity, cluster, counts, now, seconds)
        self._set_gauges(identity, node, flush.gauges, now)

    def _set_gauges(
        self, identity: Identity, node: NodeTraffic, gauges: Iterable[StatPoint], now: float
    ) -> None:
        for point in gauges:
            flow = self._cluster(identity, node, point.cluster)
            if flow is not None:
                setattr(flow, GAUGE_FIELDS[point.stat], int(point.value))
                if GAUGE_FIELDS[point.stat] == "open" and flow.open_connections:
                    flow.last_open = now

    def _record_flush(self, node: NodeTraffic, now: float, seconds: float, end: int) -> None:
        """Put a flush on record; one that comes in several messages counts once."""
        node.last_seen = max(now, node.last_seen)
        if end and end == node.last_end_ns:
            return
        node.last_end_ns = end
        node.flushes.append((now, seconds))
        while node.flushes[0][0] <= now - WINDOW:
            node.flushes.popleft()

    def _node(self, identity: Identity, name: str, now: float) -> NodeTraffic | None:
        nodes = self._nodes.setdefault(identity, {})
        if name not in nodes and len(nodes) >= MAX_NODES_PER_IDENTITY:
            return None
        return nodes.setdefault(name, NodeTraffic(now))

    def _cluster(self, identity: Identity, node: NodeTraffic, cluster: str) -> ClusterTraffic | None:
        found = node.clusters.get(cluster)
        if found is not None:
            return found
        own = sum(len(one.clusters) for one in self._nodes[identity].values())
        full = self._count >= MAX_CLUSTERS or own >= MAX_CLUSTERS // 5
        if full or len(node.clusters) >= MAX_CLUSTERS_PER_NODE or len(cluster) > 256:
            metrics.EDGES_DROPPED.inc()
            return None
        self._count += 1
        node.clusters[cluster] = ClusterTraffic()
        return node.clusters[cluster]

    def _expire(self, now: float) -> None:
        """Forget nodes that are silent and histories that are over."""
        self._expired_at = now
        for identity, nodes in list(self._nodes.items()):
            for name in [name for name, node in nodes.items() if now - node.last_seen >= self.edge_ttl]:
                self._count -= len(nodes.pop(name).clusters)
            if not nodes:
                del self._nodes[identity]
        self.history.expire(now)
