"""What happened between a sidecar and an upstream cluster within some time, as numbers that add up. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from control_plane.telemetry import histogram
from control_plane.telemetry.histogram import Buckets
from control_plane.telemetry.outcome import GRPC_FAILURES

FIELDS = {
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

GRPC = "grpc."
"""Prefix of Envoy's counters of final gRPC statuses: `grpc.14`."""

ABORTED = "injected."
"""Prefix of the mesh's own counters of answers by FaultInjection: `injected.503`."""

LATENCY = "upstream_rq_time"
"""Envoy's histogram of how long a request took with its retries, in ms."""


@dataclass(slots=True)
class Counts:
    """Sums over some time; fractions where a flush is shared between cells of time. `spread` in ms.

    `answered` requests had a final answer, `failed` of those a bad one. `connections` were tried, of which
    `connect_failures` could not be made; `unmet` ones were not even tried, for want of a healthy host or by
    a limit.
    """

    answered: float = 0.0
    failed: float = 0.0
    statuses: float = 0.0
    grpc_failed: float = 0.0
    injected: float = 0.0
    injected_failed: float = 0.0
    retries: float = 0.0
    connections: float = 0.0
    connect_failures: float = 0.0
    unmet: float = 0.0
    handshakes: float = 0.0
    spread: Buckets = field(default_factory=dict)

    @property
    def wanted(self) -> float:
        """TCP connections that a caller asked for."""
        return self.connections + self.unmet

    @property
    def refused(self) -> float:
        """TCP connections that it did not get."""
        return self.connect_failures + self.unmet

    @property
    def any_request(self) -> bool:
        """Whether there was a request."""
        return self.answered > 0 or self.retries > 0

    def settle(self, is_grpc: bool) -> None:
        """Work out what was answered and failed, once all is counted.

        Of gRPC calls the final statuses alone say it: the HTTP status says nothing of a call that failed,
        and lacks those whose deadline Envoy enforced. They hold what was injected; HTTP's do not.
        """
        if is_grpc:
            self.answered, self.failed = self.statuses, self.grpc_failed
            return
        self.answered += self.injected
        self.failed += self.injected_failed
        self.injected = self.injected_failed = 0.0

    def count(self, stat: str, value: float) -> None:
        """Add to the field of one of Envoy's counters."""
        if stat.startswith(GRPC):
            self.statuses += value
            self.grpc_failed += value if stat.removeprefix(GRPC) in GRPC_FAILURES else 0.0
            return
        if stat.startswith(ABORTED):
            self.injected += value
            self.injected_failed += value if stat.removeprefix(ABORTED).startswith("5") else 0.0
            return
        name = FIELDS[stat]
        setattr(self, name, getattr(self, name) + value)

    def add(self, more: Counts, share: float = 1.0) -> None:
        """Add a share of other sums to these."""
        self.answered += more.answered * share
        self.failed += more.failed * share
        self.statuses += more.statuses * share
        self.grpc_failed += more.grpc_failed * share
        self.retries += more.retries * share
        self.connections += more.connections * share
        self.connect_failures += more.connect_failures * share
        self.unmet += more.unmet * share
        self.handshakes += more.handshakes * share
        histogram.add(self.spread, more.spread, share)

    def latencies(self) -> list[float]:
        """What 50 %, 95 % and 99 % of the requests stayed below, in ms; 0 without any."""
        return histogram.quantiles(self.spread, (0.5, 0.95, 0.99))
