"""The recent traffic of one sidecar: the flushes of the last WINDOW for each cluster it calls.

Envoy sends deltas, each with the time it covers. A rate is the sum of the deltas within WINDOW divided by the
time they cover, so that jitter between flushes does not show up as load.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.telemetry.topology.counters import UpstreamCounters

WINDOW = 10.0
"""Seconds over which rates, success and latency are computed."""

FLUSH_INTERVAL = 2.0
"""Seconds between two flushes of a sidecar, assumed where a flush does not say what it covers."""

FLUSH_GRACE = 2.5 * FLUSH_INTERVAL
"""Seconds a flush may be late. A node that is silent for longer counts as having no traffic."""

MAX_APP_PORTS = 16
"""Ports of one app that are remembered, as many as an instance may register. A node names them itself."""

NEVER = float("-inf")


class CallResults(NamedTuple):
    """How many calls there were, how many of them failed, and how many matched no route of a gateway."""

    total: float
    failed: float
    refused: float = 0.0


@dataclass(slots=True)
class ClusterTraffic:
    """One node's traffic to one cluster; `ejected`, `hosts` and `open_connections` are of its last flush.

    Times are by the clock of `now`; NEVER if it has not happened.
    """

    samples: deque[tuple[float, UpstreamCounters]] = field(default_factory=deque)
    ejected: int = 0
    hosts: int = 0
    open_connections: int = 0
    is_grpc: bool = False
    last_request: float = NEVER
    last_connection_attempt: float = NEVER
    last_connected: float = NEVER
    last_open: float = NEVER
    last_handshake: float = NEVER
    _recent: UpstreamCounters = field(default_factory=UpstreamCounters)

    def recent(self, now: float) -> UpstreamCounters:
        """The sums of the last WINDOW. Do not modify them; they are valid until the next `record`."""
        self._expire(now)
        return self._recent

    def received_by(self, time: float) -> UpstreamCounters:
        """The sums of the flushes of the last WINDOW that had arrived at a time."""
        total = UpstreamCounters()
        for received_at, counters in self.samples:
            if received_at <= time:
                total.add(counters)
        return total

    def received_after(self, time: float) -> UpstreamCounters:
        """The sums of the flushes of the last WINDOW that arrived after a time."""
        total = UpstreamCounters()
        for received_at, counters in self.samples:
            if received_at > time:
                total.add(counters)
        return total

    def record(self, counters: UpstreamCounters, now: float) -> None:
        """Add one flush and finalize its counters."""
        self.is_grpc = self.is_grpc or counters.grpc_completed > 0
        counters.finalize(self.is_grpc)
        self.samples.append((now, counters))
        self._recent.add(counters)
        if counters.has_requests:
            self.last_request = now
        if counters.connection_attempts:
            self.last_connection_attempt = now
        if counters.connections - counters.connect_failures > 0:
            self.last_connected = now
        if counters.tls_handshakes:
            self.last_handshake = now
        self._expire(now)

    def _expire(self, now: float) -> None:
        """Subtract samples older than WINDOW. This is exact, because flushes count in whole numbers."""
        while self.samples and self.samples[0][0] <= now - WINDOW:
            self._recent.add(self.samples.popleft()[1], -1.0)
        if not self.samples:
            self._recent = UpstreamCounters()


@dataclass(slots=True)
class NodeTraffic:
    """One sidecar: when its recent flushes arrived and the seconds they cover, and its traffic by cluster.

    `inbound` are the responses to callers of its own service, `listens` tells which ports of its app
    accept connections.
    """

    last_seen: float
    flushes: deque[tuple[float, float]] = field(default_factory=deque)
    last_end_ns: int = 0
    clusters: dict[str, ClusterTraffic] = field(default_factory=dict)
    inbound: ClusterTraffic = field(default_factory=ClusterTraffic)
    listens: dict[str, bool] = field(default_factory=dict)

    def covered_seconds(self, now: float) -> float:
        """The time that the flushes within WINDOW cover, plus the node's silence beyond FLUSH_GRACE."""
        covered = sum(seconds for received_at, seconds in self.flushes if received_at > now - WINDOW)
        silent = now - self.last_seen
        return covered + (silent if silent > FLUSH_GRACE else 0.0)

    def record_listening(self, ports: Mapping[str, bool]) -> None:
        """Note which ports of its app accept connections; those beyond MAX_APP_PORTS are ignored."""
        for port, listens in ports.items():
            if port in self.listens or len(self.listens) < MAX_APP_PORTS:
                self.listens[port] = listens

    def record_flush(self, now: float, seconds: float, end_ns: int) -> None:
        """Note a flush; one that is split over several messages counts once."""
        self.last_seen = max(now, self.last_seen)
        if end_ns and end_ns == self.last_end_ns:
            return
        self.last_end_ns = end_ns
        self.flushes.append((now, seconds))
        while self.flushes[0][0] <= now - WINDOW:
            self.flushes.popleft()


@dataclass(frozen=True, slots=True)
class TrafficSample:
    """One node's traffic to one cluster now: the sums of the last WINDOW and the seconds they cover."""

    caller: Identity
    cluster: str
    traffic: ClusterTraffic
    counters: UpstreamCounters
    seconds: float
