"""Traffic aggregated to edges: all calls from one service or gateway to another service.

Only the mesh's own services are destinations, each ExternalService, and all other hosts outside the mesh as
one. The caller is the identity of the certificate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from meshwright.control_plane.api.cluster_names import (
    EXTERNAL,
    EXTERNAL_NODE,
    carries_connections,
    is_external_node,
    parse_cluster_name,
)
from meshwright.control_plane.api.models.base import Protocol
from meshwright.control_plane.api.models.topology import NodeRole
from meshwright.control_plane.core.views import default_port
from meshwright.control_plane.core.world import Service
from meshwright.control_plane.telemetry.ingest.envoy_stats import UNROUTED
from meshwright.control_plane.telemetry.topology.counters import UpstreamCounters
from meshwright.control_plane.telemetry.topology.traffic import (
    FLUSH_GRACE,
    NEVER,
    CallResults,
    TrafficSample,
)


@dataclass(slots=True)
class EdgeTraffic:
    """The traffic of an edge. HTTP and gRPC `requests` and TCP `connections` are counted separately."""

    requests: UpstreamCounters = field(default_factory=UpstreamCounters)
    connections: UpstreamCounters = field(default_factory=UpstreamCounters)
    rates: dict[Protocol, float] = field(default_factory=dict)
    retries_per_s: float = 0.0
    refused_per_s: float = 0.0
    ejected: int = 0
    last_connected: float = NEVER
    last_handshake: float = NEVER
    versions: dict[str, EdgeTraffic] = field(default_factory=dict)
    early: EdgeTraffic | None = None
    """The part of it from before the destination was first ready."""

    @property
    def results(self) -> CallResults:
        """Requests with a final response and TCP connection attempts, and how many of both failed."""
        total = self.requests.completed + self.connections.connection_attempts
        failed = self.requests.failed + self.connections.failed_attempts
        return CallResults(total, min(failed, total), self.requests.refused)

    @property
    def judged(self) -> CallResults:
        """The results on which a verdict on the destination, or on a gateway that calls it, rests."""
        if self.early is None:
            return self.results
        return CallResults(
            *(all_ - early for all_, early in zip(self.results, self.early.results, strict=True))
        )

    @property
    def success(self) -> float:
        """The share of calls that did not fail; 1 without calls."""
        total, failed, _ = self.results
        return round(1 - failed / total, 6) if total > 0 else 1.0

    @property
    def rate(self) -> float:
        """Requests and connections per second."""
        return round(sum(self.rates.values()), 3)

    def latency_percentiles(self) -> tuple[float, float, float]:
        """The 50th, 95th and 99th percentile of request durations in ms; zeros without requests."""
        p50, p95, p99 = self.requests.latency_percentiles()
        return round(p50, 3), round(p95, 3), round(p99, 3)

    def is_mutual_tls(self, configured: bool) -> bool:
        """Whether connections use mutual TLS, judged by handshakes; without connections, by configuration.

        A handshake may be reported one flush after its connection.
        """
        if self.last_connected == self.last_handshake == NEVER:
            return configured
        return self.last_handshake >= self.last_connected - FLUSH_GRACE

    def add_sample(self, sample: TrafficSample, protocol: Protocol) -> None:
        """Add the traffic of one node."""
        counters, seconds = sample.counters, sample.seconds
        calls = counters.connection_attempts if protocol == "tcp" else counters.completed
        (self.connections if protocol == "tcp" else self.requests).add(counters)
        rate = calls / seconds if seconds > 0 else 0.0
        self.rates[protocol] = self.rates.get(protocol, 0.0) + rate
        self.retries_per_s += counters.retries / seconds if seconds > 0 else 0.0
        self.refused_per_s += counters.refused / seconds if seconds > 0 else 0.0
        self.ejected = max(self.ejected, sample.traffic.ejected)
        self.last_connected = max(self.last_connected, sample.traffic.last_connected)
        self.last_handshake = max(self.last_handshake, sample.traffic.last_handshake)

    def add(self, other: EdgeTraffic) -> None:
        """Add the traffic of another edge."""
        self.requests.add(other.requests)
        self.connections.add(other.connections)
        for protocol, rate in other.rates.items():
            self.rates[protocol] = self.rates.get(protocol, 0.0) + rate
        self.retries_per_s += other.retries_per_s
        self.refused_per_s += other.refused_per_s
        self.ejected = max(self.ejected, other.ejected)


@dataclass(frozen=True, slots=True)
class EdgeTable:
    """Edges by caller and destination, and the role of each caller.

    `unrouted`: by caller, the requests that its proxies answered themselves and that have no destination.
    """

    edges: Mapping[tuple[str, str], EdgeTraffic]
    callers: Mapping[str, NodeRole]
    unrouted: Mapping[str, EdgeTraffic] = field(default_factory=dict)


def destination_of(cluster: str, services: Mapping[str, Service]) -> tuple[str, Protocol] | None:
    """The service behind a cluster and the protocol of its port; None if the mesh has no such service.

    Hosts outside the mesh are one destination, except those of an ExternalService. Of those that a gateway
    leads to, the gateway is the destination.
    """
    if cluster == EXTERNAL:
        return EXTERNAL_NODE, "http"
    name = parse_cluster_name(cluster)
    if is_external_node(name.service) or is_external_node(name.subset):
        return name.service, "tcp" if carries_connections(name) else "http"
    service = services.get(name.service)
    if service is None:
        return None
    if name.port:
        port = next((port for port in service.ports if port.name == name.port), None)
    else:
        port = default_port(service.ports)
    return (service.name, port.protocol) if port else None


def aggregate(
    samples: Iterable[TrafficSample],
    services: Mapping[str, Service],
    now: float,
    edge_ttl: float,
    ready_since: Mapping[str, float] | None = None,
) -> EdgeTable:
    """The edges with traffic within the last `edge_ttl` seconds; `now` is the clock of the samples.

    `ready_since`: when services were first ready (see FirstReadiness); None: all were long ago.
    """
    edges: dict[tuple[str, str], EdgeTraffic] = {}
    callers: dict[str, NodeRole] = {}
    unrouted: dict[str, EdgeTraffic] = {}
    for sample in samples:
        if sample.cluster == UNROUTED:
            unrouted.setdefault(sample.caller.name, EdgeTraffic()).add_sample(sample, "http")
            continue
        destination = destination_of(sample.cluster, services)
        if destination is None:
            continue
        service, protocol = destination
        traffic = sample.traffic
        is_tcp = protocol == "tcp"
        last = max(traffic.last_connection_attempt, traffic.last_open) if is_tcp else traffic.last_request
        if now - last >= edge_ttl:
            continue
        caller = sample.caller
        callers[caller.name] = "gateway" if caller.role == "gateway" else "service"
        edge = edges.setdefault((caller.name, service), EdgeTraffic())
        edge.add_sample(sample, protocol)
        if ready_since is not None and service in services:
            _add_early(edge, sample, protocol, ready_since.get(service, now))
        version = parse_cluster_name(sample.cluster).subset
        if version:
            edge.versions.setdefault(version, EdgeTraffic()).add_sample(sample, protocol)
    return EdgeTable(edges, callers, unrouted)


def _add_early(edge: EdgeTraffic, sample: TrafficSample, protocol: Protocol, ready: float) -> None:
    """Note what was called before the destination was ready. A flush may tell of it FLUSH_GRACE later."""
    samples = sample.traffic.samples
    if samples and samples[0][0] <= ready + FLUSH_GRACE:
        early = sample.traffic.received_by(ready + FLUSH_GRACE)
        edge.early = edge.early or EdgeTraffic()
        (edge.early.connections if protocol == "tcp" else edge.early.requests).add(early)
