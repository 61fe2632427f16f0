"""Flows added up to edges: all that goes from one service or gateway to another. Pure.

Only what the mesh knows is an edge: a callee is a service of the world, a caller is who its certificate says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from meshwright.control_plane.api.models.base import Protocol
from meshwright.control_plane.api.models.topology import NodeRole
from meshwright.control_plane.core.views import default_port
from meshwright.control_plane.core.world import Service
from meshwright.control_plane.telemetry.topology.counters import UpstreamCounters
from meshwright.control_plane.telemetry.topology.windows import FLUSH_GRACE, TrafficSample

NEVER = float("-inf")

_CLUSTER = re.compile(r"(?P<service>[^:/]+)(?::(?P<port>[^/]+))?(?:/(?P<version>.+))?")
# `orders`, `orders:grpc`, `orders/v2`.


@dataclass(slots=True)
class EdgeTraffic:
    """Some flows together: requests and TCP connections apart, each as counts, and as rates by protocol."""

    requests: UpstreamCounters = field(default_factory=UpstreamCounters)
    connections: UpstreamCounters = field(default_factory=UpstreamCounters)
    rates: dict[Protocol, float] = field(default_factory=dict)
    retries_per_s: float = 0.0
    ejected: int = 0
    last_connected: float = NEVER
    last_handshake: float = NEVER
    versions: dict[str, EdgeTraffic] = field(default_factory=dict)

    @property
    def results(self) -> tuple[float, float]:
        """How much happened, and how much of it failed."""
        happened = self.requests.completed + self.connections.connection_attempts
        return happened, min(self.requests.failed + self.connections.failed_attempts, happened)

    @property
    def success(self) -> float:
        """The share of what happened that did not fail; 1 where nothing did."""
        happened, failed = self.results
        return round(1 - failed / happened, 6) if happened > 0 else 1.0

    @property
    def rate(self) -> float:
        """Requests and connections in a second."""
        return round(sum(self.rates.values()), 3)

    def latency_percentiles(self) -> tuple[float, float, float]:
        """What 50 %, 95 % and 99 % of the requests stayed below, in ms; 0 without any."""
        p50, p95, p99 = self.requests.latency_percentiles()
        return round(p50, 3), round(p95, 3), round(p99, 3)

    def is_mutual_tls(self, configured: bool) -> bool:
        """Connections tell by their handshakes; where none is known of, the configuration does.

        A handshake may be told in the flush after its connection.
        """
        if self.last_connected == self.last_handshake == NEVER:
            return configured
        return self.last_handshake >= self.last_connected - FLUSH_GRACE

    def add_sample(self, seen: TrafficSample, protocol: Protocol) -> None:
        """Add one node's flow."""
        counts, seconds = seen.counters, seen.seconds
        happened = counts.connection_attempts if protocol == "tcp" else counts.completed
        (self.connections if protocol == "tcp" else self.requests).add(counts)
        rate = happened / seconds if seconds > 0 else 0.0
        self.rates[protocol] = self.rates.get(protocol, 0.0) + rate
        self.retries_per_s += counts.retries / seconds if seconds > 0 else 0.0
        self.ejected = max(self.ejected, seen.traffic.ejected)
        self.last_connected = max(self.last_connected, seen.traffic.last_connected)
        self.last_handshake = max(self.last_handshake, seen.traffic.last_handshake)

    def add(self, more: EdgeTraffic) -> None:
        """Add the flows of another edge."""
        self.requests.add(more.requests)
        self.connections.add(more.connections)
        for protocol, rate in more.rates.items():
            self.rates[protocol] = self.rates.get(protocol, 0.0) + rate
        self.retries_per_s += more.retries_per_s
        self.ejected = max(self.ejected, more.ejected)


@dataclass(frozen=True, slots=True)
class EdgeTable:
    """The edges by caller and callee, and what their callers are."""

    edges: Mapping[tuple[str, str], EdgeTraffic]
    callers: Mapping[str, NodeRole]


def destination_of(cluster: str, services: Mapping[str, Service]) -> tuple[str, Protocol] | None:
    """The service behind a cluster and what it speaks there; None when the mesh has no such service."""
    found = _CLUSTER.fullmatch(cluster)
    service = services.get(found["service"]) if found else None
    if found is None or service is None:
        return None
    if found["port"]:
        port = next((one for one in service.ports if one.name == found["port"]), None)
    else:
        port = default_port(service.ports)
    return (service.name, port.protocol) if port else None


def _version(cluster: str) -> str:
    found = _CLUSTER.fullmatch(cluster)
    return (found["version"] or "") if found else ""


def aggregate(
    samples: Iterable[TrafficSample], services: Mapping[str, Service], now: float, edge_ttl: float
) -> EdgeTable:
    """The edges with traffic within the last `fades` seconds, by the clock that flows were noted by."""
    sums: dict[tuple[str, str], EdgeTraffic] = {}
    callers: dict[str, NodeRole] = {}
    for one in samples:
        about = destination_of(one.cluster, services)
        if about is None:
            continue
        flow = one.traffic
        last = max(flow.last_connection_attempt, flow.last_open) if about[1] == "tcp" else flow.last_request
        if now - last < edge_ttl:
            caller = one.caller
            callers[caller.name] = "gateway" if caller.role == "gateway" else "service"
            total = sums.setdefault((caller.name, about[0]), EdgeTraffic())
            total.add_sample(one, about[1])
            version = _version(one.cluster)
            if version:
                total.versions.setdefault(version, EdgeTraffic()).add_sample(one, about[1])
    return EdgeTable(sums, callers)
