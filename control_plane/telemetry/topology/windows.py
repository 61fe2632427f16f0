"""The traffic of all sidecars over the last WINDOW and its history, computed from their metrics."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from meshwright.control_plane.api.spiffe import Identity, valid_name
from meshwright.control_plane.telemetry import metrics
from meshwright.control_plane.telemetry.ingest.envoy_stats import (
    MalformedError,
    NodeMetrics,
    StatPoint,
    parse_metrics,
)
from meshwright.control_plane.telemetry.ingest.sender import ACCEPT_ALL, SenderCheck
from meshwright.control_plane.telemetry.requests.call_memory import CallMemory
from meshwright.control_plane.telemetry.topology.claims import is_plausible
from meshwright.control_plane.telemetry.topology.counters import UpstreamCounters
from meshwright.control_plane.telemetry.topology.flush import GAUGE_FIELDS, MetricsFlush, NodeFlush
from meshwright.control_plane.telemetry.topology.history_store import HistoryStore
from meshwright.control_plane.telemetry.topology.replication_log import ReplicationLog
from meshwright.control_plane.telemetry.topology.traffic import (
    FLUSH_INTERVAL,
    NEVER,
    CallResults,
    ClusterTraffic,
    NodeTraffic,
    TrafficSample,
)

EDGE_TTL = 60.0
"""Seconds without traffic after which an edge is hidden and a silent node is forgotten."""

SILENT_AFTER = 2.5 * FLUSH_INTERVAL
"""Seconds without metrics after which a node no longer shows that it works: two flushes are missing."""

MAX_NODES_PER_IDENTITY = 500
MAX_CLUSTERS_PER_NODE = 1_000

MAX_CLUSTERS = 20_000
"""Clusters of all nodes together; one identity may have a fifth of them."""


class TrafficWindows:
    """The traffic of every node. `now` is any monotonic clock, in seconds."""

    def __init__(
        self,
        edge_ttl: float = EDGE_TTL,
        check: SenderCheck = ACCEPT_ALL,
        calls: CallMemory | None = None,
    ) -> None:
        self._calls = calls
        self._check = check
        self.edge_ttl = edge_ttl
        self.history = HistoryStore()
        self.replication_log: ReplicationLog[NodeFlush] = ReplicationLog()
        self.in_progress = 0
        self._nodes: dict[Identity, dict[str, NodeTraffic]] = {}
        self._count = 0
        self._expired_at = 0.0

    def handle(self, identity: Identity, body: bytes, now: float) -> Iterator[None]:
        """Process an ExportMetricsServiceRequest of `identity`; yields after each small step.

        Malformed metrics and metrics of another service are counted and dropped.
        """
        try:
            for node in parse_metrics(body):
                if node is None:
                    yield
                else:
                    yield from self._handle_node(identity, node, now)
        except MalformedError:
            metrics.DROPPED.labels("malformed").inc()

    def samples(self, now: float) -> Iterator[TrafficSample]:
        """The traffic to every cluster that had requests or open connections within `edge_ttl`."""
        for identity, nodes in self._nodes.items():
            for node in nodes.values():
                seconds = node.covered_seconds(now)
                for cluster, traffic in node.clusters.items():
                    last = max(traffic.last_request, traffic.last_connection_attempt, traffic.last_open)
                    if now - last < self.edge_ttl:
                        yield TrafficSample(identity, cluster, traffic, traffic.recent(now), seconds)

    def inbound_results(self, now: float) -> dict[str, CallResults]:
        """By service: the responses of its inbound proxies within WINDOW; those with 5xx failed."""
        results: dict[str, CallResults] = {}
        for identity, nodes in self._nodes.items():
            if identity.role == "service":
                recent = [node.inbound.recent(now) for node in nodes.values()]
                results[identity.name] = CallResults(
                    sum(counters.completed for counters in recent),
                    sum(counters.failed for counters in recent),
                )
        return results

    def by_node(
        self, services: Collection[str], now: float, since: Mapping[str, float]
    ) -> Iterator[tuple[str, str, float, UpstreamCounters]]:
        """The requests within WINDOW of each proxy of services and gateways, in and out.

        Yields the service, the name, how many requests there were, and the sums of the flushes that cover no
        time before `since`, by `service/name`; of proxies without a time there all flushes count.
        """
        for identity, nodes in self._nodes.items():
            for name, node in nodes.items() if identity.name in services else ():
                covered = since.get(f"{identity.name}/{name}", NEVER) + FLUSH_INTERVAL
                requests, total = 0.0, UpstreamCounters()
                for traffic in (node.inbound, *node.clusters.values()):
                    requests += traffic.recent(now).completed
                    total.add(traffic.received_after(covered))
                yield identity.name, name, requests, total

    def works(self, identity: Identity, node: str, now: float) -> bool | None:
        """Whether a node works, by its metrics: not if its app does not listen, nor if every recent request
        to it has failed.

        None: it sends none at present, as it is idle or gone.
        """
        traffic = self._nodes.get(identity, {}).get(node)
        if traffic is None or now - traffic.last_seen > SILENT_AFTER:
            return None
        if traffic.listens and not any(traffic.listens.values()):
            return False
        recent = traffic.inbound.recent(now)
        return recent.failed == 0 or recent.failed < recent.completed

    def ingest(self, node_flush: NodeFlush, now: float, *, record_history: bool = True) -> Iterator[None]:
        """Add a flush received at `now`, here or by another control plane; yields after each small step.

        Pass `record_history=False` for a flush that the histories already contain.
        """
        if now - self._expired_at >= self.edge_ttl / 4:
            self._expire(now)
        identity, flush = node_flush.identity, node_flush.flush
        node = self._node(identity, node_flush.node, now)
        if node is None:
            metrics.DROPPED.labels("limit").inc()
            return
        seconds = flush.seconds if 0 < flush.seconds <= EDGE_TTL else FLUSH_INTERVAL
        node.record_flush(now, seconds, flush.end_ns)
        node.record_listening(flush.listens)
        if flush.inbound.completed:
            node.inbound.record(flush.inbound, now)
        for cluster, counters in flush.clusters.items():
            yield
            if not is_plausible((counters.completed, counters.connections, counters.retries), seconds):
                metrics.DROPPED.labels("implausible").inc()
                continue
            traffic = self._cluster(identity, node, cluster)
            if traffic is not None:
                traffic.record(counters, now)
                if record_history:
                    self._remember(identity, cluster, counters, now, seconds)
        yield from self._set_gauges(identity, node, flush.gauges, now)

    def _remember(
        self, identity: Identity, cluster: str, counters: UpstreamCounters, now: float, seconds: float
    ) -> None:
        self.history.record(identity, cluster, counters, now, seconds)
        if self._calls is not None:
            sent = max(counters.completed - counters.refused, 0.0)
            self._calls.count(identity.name, cluster, sent, counters.connection_attempts, now)

    def _handle_node(self, identity: Identity, node: NodeMetrics, now: float) -> Iterator[None]:
        is_own = node.service == identity.name and not self._check.is_foreign(identity, node.node)
        if not is_own or not valid_name(node.node):
            metrics.DROPPED.labels("foreign").inc()
            return
        flush = MetricsFlush()
        for point in node.points:
            yield
            if point is not None:
                flush.add(point)
        node_flush = NodeFlush(identity, node.node, flush)
        self.in_progress += 1
        try:
            yield from self.ingest(node_flush, now)
            self.replication_log.append(node_flush, now)
        finally:
            self.in_progress -= 1

    def _set_gauges(
        self, identity: Identity, node: NodeTraffic, gauges: Iterable[StatPoint], now: float
    ) -> Iterator[None]:
        for point in gauges:
            yield
            traffic = self._cluster(identity, node, point.cluster)
            if traffic is not None:
                setattr(traffic, GAUGE_FIELDS[point.stat], int(point.value))
                if GAUGE_FIELDS[point.stat] == "open_connections" and traffic.open_connections:
                    traffic.last_open = now

    def _node(self, identity: Identity, name: str, now: float) -> NodeTraffic | None:
        nodes = self._nodes.setdefault(identity, {})
        if name not in nodes and len(nodes) >= MAX_NODES_PER_IDENTITY:
            return None
        return nodes.setdefault(name, NodeTraffic(now))

    def _cluster(self, identity: Identity, node: NodeTraffic, cluster: str) -> ClusterTraffic | None:
        traffic = node.clusters.get(cluster)
        if traffic is not None:
            return traffic
        of_identity = sum(len(other.clusters) for other in self._nodes[identity].values())
        full = self._count >= MAX_CLUSTERS or of_identity >= MAX_CLUSTERS // 5
        if full or len(node.clusters) >= MAX_CLUSTERS_PER_NODE or len(cluster) > 256:
            metrics.EDGES_DROPPED.inc()
            return None
        self._count += 1
        node.clusters[cluster] = ClusterTraffic()
        return node.clusters[cluster]

    def _expire(self, now: float) -> None:
        """Forget nodes that are silent and histories that have ended."""
        self._expired_at = now
        for identity, nodes in list(self._nodes.items()):
            silent = [name for name, node in nodes.items() if now - node.last_seen >= self.edge_ttl]
            for name in silent:
                self._count -= len(nodes.pop(name).clusters)
            if not nodes:
                del self._nodes[identity]
        self.history.expire(now)
