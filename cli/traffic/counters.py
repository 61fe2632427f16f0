"""Counting what became of requests: outcomes, latencies, and whether a fault was in force. Pure."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

MIN_MS, GROWTH = 0.1, 1.05
"""Latencies fall into buckets, each 5 % wider than the one before, which is how exact percentiles are."""

PHASES = ("before", "during", "after")


@dataclass(slots=True)
class LatencyHistogram:
    """A histogram of milliseconds that needs no more room the longer it counts."""

    buckets: Counter[int] = field(default_factory=Counter)
    max_ms: float = 0.0

    def add(self, milliseconds: float) -> None:
        """Count one."""
        self.buckets[max(0, math.ceil(math.log(max(milliseconds, MIN_MS) / MIN_MS, GROWTH)))] += 1
        self.max_ms = max(self.max_ms, milliseconds)

    def quantile(self, share: float) -> float:
        """The latency that `share` (0 to 1) of all stay within, at most 5 % too high; 0 without any."""
        left = math.ceil(share * self.buckets.total())
        for bucket in sorted(self.buckets):
            left -= self.buckets[bucket]
            if left <= 0:
                return min(MIN_MS * GROWTH**bucket, self.max_ms)
        return 0.0


@dataclass(slots=True)
class RequestCounter:
    """Requests of one kind."""

    sent: int = 0
    errors: int = 0
    latencies: LatencyHistogram = field(default_factory=LatencyHistogram)

    def add(self, fine: bool, milliseconds: float) -> None:
        """Count one."""
        self.sent += 1
        self.errors += not fine
        self.latencies.add(milliseconds)

    def report(self) -> dict[str, Any]:
        """As JSON values."""
        shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
        times = {name: round(self.latencies.quantile(share), 2) for name, share in shares.items()}
        latency = {**times, "max": round(self.latencies.max_ms, 2)}
        return {"sent": self.sent, "errors": self.errors, "latency_ms": latency}


@dataclass(slots=True)
class TrafficCounters:
    """Everything that was counted. Moments are seconds of one clock.

    `fault_from` is when a fault was asked for, `fault_to` when every sidecar was known to be rid of it: what
    was due from then on cannot have met it.
    """

    all: RequestCounter = field(default_factory=RequestCounter)
    recent: RequestCounter = field(default_factory=RequestCounter)
    routes: dict[str, RequestCounter] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    phases: dict[str, RequestCounter] = field(
        default_factory=lambda: {name: RequestCounter() for name in PHASES}
    )
    fault_start: float = math.inf
    fault_end: float = math.inf

    def add(self, route: str, outcome: str, fine: bool, due: float, done: float) -> None:
        """Count a request that was due at one moment and done at another; the time between is its latency."""
        milliseconds = (done - due) * 1000
        phase = "before" if due < self.fault_start else "during" if due < self.fault_end else "after"
        for count in (
            self.all,
            self.recent,
            self.routes.setdefault(route, RequestCounter()),
            self.phases[phase],
        ):
            count.add(fine, milliseconds)
        self.outcomes[outcome] += 1

    def take_recent(self) -> RequestCounter:
        """What was counted since this was asked last."""
        found, self.recent = self.recent, RequestCounter()
        return found

    def report(self, planned: int, fault: str = "") -> dict[str, Any]:
        """All of it as JSON values. `planned`: how many requests were due; `sent` and `unsent` make them up,
        as the outcomes make up `sent`.
        """
        made: dict[str, Any] = {"planned": planned, "unsent": planned - self.all.sent, **self.all.report()}
        made["outcomes"] = dict(sorted(self.outcomes.items()))
        made["routes"] = {name: count.report() for name, count in sorted(self.routes.items())}
        if fault:
            phases = {name: count.report() for name, count in self.phases.items()}
            made["fault"] = {"fault": fault, **phases}
        return made
