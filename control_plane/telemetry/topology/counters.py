"""Counters of the traffic between a sidecar and an upstream cluster over some time; they can be added."""

from __future__ import annotations

from dataclasses import dataclass, field

from meshwright.control_plane.telemetry.requests.failure import GRPC_FAILURES
from meshwright.control_plane.telemetry.topology import histogram
from meshwright.control_plane.telemetry.topology.histogram import Buckets

COUNTER_FIELDS = {
    "upstream_rq_completed": "completed",
    "upstream_rq_5xx": "failed",
    "upstream_rq_retry": "retries",
    "upstream_cx_total": "connections",
    "upstream_cx_connect_fail": "connect_failures",
    "upstream_cx_none_healthy": "rejected_connections",
    "upstream_cx_overflow": "rejected_connections",
    "ssl.handshake": "tls_handshakes",
}
"""Envoy's counters of a cluster → fields of UpstreamCounters.

`upstream_rq_completed` and `upstream_rq_5xx` count final responses, including those Envoy itself produced. A
response that led to a retry is not among them (Envoy's documentation, "Cluster statistics").
"""

GRPC_PREFIX = "grpc."
"""Prefix of Envoy's counters of final gRPC statuses: `grpc.14`."""

LOCAL_PREFIX = "local."
"""Prefix of counters of responses that a proxy made itself, by outcome: `local.failed`."""

LATENCY_STAT = "upstream_rq_time"
"""Envoy's histogram of durations with retries, in ms, without what came before its router."""


@dataclass(slots=True)
class UpstreamCounters:
    """Sums over some time. Fractions occur where a flush is split across steps. Buckets are in ms.

    `completed` requests received a final response; `failed` counts those that failed, `refused` the 4xx that
    a proxy itself responded with. `delayed_buckets` are whole durations of requests that a fault delayed.
    `connections` were attempted, of which `connect_failures` failed; `rejected_connections` were not even
    attempted, because no host was healthy or a limit was reached.
    """

    completed: float = 0.0
    failed: float = 0.0
    grpc_completed: float = 0.0
    grpc_failed: float = 0.0
    local: float = 0.0
    local_failed: float = 0.0
    refused: float = 0.0
    retries: float = 0.0
    connections: float = 0.0
    connect_failures: float = 0.0
    rejected_connections: float = 0.0
    tls_handshakes: float = 0.0
    latency_buckets: Buckets = field(default_factory=dict)
    delayed_buckets: Buckets = field(default_factory=dict)

    @property
    def connection_attempts(self) -> float:
        """TCP connections the caller asked for."""
        return self.connections + self.rejected_connections

    @property
    def failed_attempts(self) -> float:
        """TCP connections the caller asked for and did not get."""
        return self.connect_failures + self.rejected_connections

    @property
    def has_requests(self) -> bool:
        """Whether there was any request."""
        return self.completed > 0 or self.retries > 0

    def finalize(self, is_grpc: bool) -> None:
        """Compute `completed`, `failed` and `latency_buckets`; call it once, after the last `count`.

        For gRPC only the final statuses count: a failed call often has HTTP status 200, and HTTP counters
        miss calls whose deadline Envoy enforced.
        """
        if is_grpc:
            self.completed, self.failed = self.grpc_completed, self.grpc_failed
        self.completed += self.local
        self.failed += self.local_failed
        self.local = self.local_failed = 0.0
        delayed, self.delayed_buckets = self.delayed_buckets, {}
        if delayed:
            # The router's histogram has the same requests without their delay. Which of its values are
            # theirs is unknown; a fault chooses requests at random, so they are like the others.
            histogram.remove_evenly(self.latency_buckets, sum(delayed.values()))
            histogram.add(self.latency_buckets, delayed)

    def count(self, stat: str, value: float) -> None:
        """Add `value` to the field of an Envoy counter."""
        if stat.startswith(GRPC_PREFIX):
            self.grpc_completed += value
            self.grpc_failed += value if stat.removeprefix(GRPC_PREFIX) in GRPC_FAILURES else 0.0
            return
        if stat.startswith(LOCAL_PREFIX):
            outcome = stat.removeprefix(LOCAL_PREFIX)
            self.local += value
            self.local_failed += value if outcome == "failed" else 0.0
            self.refused += value if outcome == "refused" else 0.0
            return
        name = COUNTER_FIELDS[stat]
        setattr(self, name, getattr(self, name) + value)

    def add(self, other: UpstreamCounters, fraction: float = 1.0) -> None:
        """Add a fraction of other counters."""
        self.completed += other.completed * fraction
        self.failed += other.failed * fraction
        self.grpc_completed += other.grpc_completed * fraction
        self.grpc_failed += other.grpc_failed * fraction
        self.refused += other.refused * fraction
        self.retries += other.retries * fraction
        self.connections += other.connections * fraction
        self.connect_failures += other.connect_failures * fraction
        self.rejected_connections += other.rejected_connections * fraction
        self.tls_handshakes += other.tls_handshakes * fraction
        histogram.add(self.latency_buckets, other.latency_buckets, fraction)

    def latency_percentiles(self) -> list[float]:
        """The 50th, 95th and 99th percentile in ms; zeros without requests."""
        return histogram.quantiles(self.latency_buckets, (0.5, 0.95, 0.99))
