"""What happened between a sidecar and an upstream cluster within some time, as numbers that add up. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from meshwright.control_plane.telemetry.requests.failure import GRPC_FAILURES
from meshwright.control_plane.telemetry.topology import histogram
from meshwright.control_plane.telemetry.topology.histogram import Buckets

COUNTER_FIELDS = {
    "upstream_rq_completed": "answered",
    "upstream_rq_5xx": "failed",
    "upstream_rq_retry": "retries",
    "upstream_cx_total": "connections",
    "upstream_cx_connect_fail": "connect_failures",
    "upstream_cx_none_healthy": "unmet",
    "upstream_cx_overflow": "unmet",
    "ssl.handshake": "handshakes",
}
"""Envoy's counters of a cluster → fields of Counts.

`upstream_rq_completed` and its classes count what was answered in the end, also by Envoy itself; an answer
that was retried is not among them (Envoy's cluster statistics).
"""

GRPC_PREFIX = "grpc."
"""Prefix of Envoy's counters of final gRPC statuses: `grpc.14`."""

INJECTED_PREFIX = "injected."
"""Prefix of the mesh's own counters of answers by FaultInjection: `injected.503`."""

LATENCY_STAT = "upstream_rq_time"
"""Envoy's histogram of how long a request took with its retries, in ms."""


@dataclass(slots=True)
class UpstreamCounters:
    """Sums over some time; fractions where a flush is shared between cells of time. `spread` in ms.

    `answered` requests had a final answer, `failed` of those a bad one. `connections` were tried, of which
    `connect_failures` could not be made; `unmet` ones were not even tried, for want of a healthy host or by
    a limit.
    """

    completed: float = 0.0
    failed: float = 0.0
    grpc_completed: float = 0.0
    grpc_failed: float = 0.0
    injected: float = 0.0
    injected_failed: float = 0.0
    retries: float = 0.0
    connections: float = 0.0
    connect_failures: float = 0.0
    rejected_connections: float = 0.0
    tls_handshakes: float = 0.0
    latency_buckets: Buckets = field(default_factory=dict)

    @property
    def connection_attempts(self) -> float:
        """TCP connections that a caller asked for."""
        return self.connections + self.rejected_connections

    @property
    def failed_attempts(self) -> float:
        """TCP connections that it did not get."""
        return self.connect_failures + self.rejected_connections

    @property
    def has_requests(self) -> bool:
        """Whether there was a request."""
        return self.completed > 0 or self.retries > 0

    def finalize(self, is_grpc: bool) -> None:
        """Work out what was answered and failed, once all is counted.

        Of gRPC calls the final statuses alone say it: the HTTP status says nothing of a call that failed,
        and lacks those whose deadline Envoy enforced. They hold what was injected; HTTP's do not.
        """
        if is_grpc:
            self.completed, self.failed = self.grpc_completed, self.grpc_failed
            return
        self.completed += self.injected
        self.failed += self.injected_failed
        self.injected = self.injected_failed = 0.0

    def count(self, stat: str, value: float) -> None:
        """Add to the field of one of Envoy's counters."""
        if stat.startswith(GRPC_PREFIX):
            self.grpc_completed += value
            self.grpc_failed += value if stat.removeprefix(GRPC_PREFIX) in GRPC_FAILURES else 0.0
            return
        if stat.startswith(INJECTED_PREFIX):
            self.injected += value
            self.injected_failed += value if stat.removeprefix(INJECTED_PREFIX).startswith("5") else 0.0
            return
        name = COUNTER_FIELDS[stat]
        setattr(self, name, getattr(self, name) + value)

    def add(self, other: UpstreamCounters, fraction: float = 1.0) -> None:
        """Add a share of other sums to these."""
        self.completed += other.completed * fraction
        self.failed += other.failed * fraction
        self.grpc_completed += other.grpc_completed * fraction
        self.grpc_failed += other.grpc_failed * fraction
        self.retries += other.retries * fraction
        self.connections += other.connections * fraction
        self.connect_failures += other.connect_failures * fraction
        self.rejected_connections += other.rejected_connections * fraction
        self.tls_handshakes += other.tls_handshakes * fraction
        histogram.add(self.latency_buckets, other.latency_buckets, fraction)

    def latency_percentiles(self) -> list[float]:
        """What 50 %, 95 % and 99 % of the requests stayed below, in ms; 0 without any."""
        return histogram.quantiles(self.latency_buckets, (0.5, 0.95, 0.99))
