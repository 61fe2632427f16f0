"""Counters of the demo's traffic: journeys, and outcomes and latencies of requests. Pure."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

MIN_MS, GROWTH = 0.1, 1.05
"""The first bucket of latencies, and the growth of each next one: percentiles are exact to 5 %."""

PHASES = ("before", "during", "after")

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


@dataclass(slots=True)
class LatencyHistogram:
    """A histogram of milliseconds whose size does not depend on the number of values."""

    buckets: Counter[int] = field(default_factory=Counter)
    max_ms: float = 0.0

    def add(self, milliseconds: float) -> None:
        """Count a value."""
        self.buckets[max(0, math.ceil(math.log(max(milliseconds, MIN_MS) / MIN_MS, GROWTH)))] += 1
        self.max_ms = max(self.max_ms, milliseconds)

    def quantile(self, q: float) -> float:
        """The latency that a share `q` (0 to 1) of the values does not exceed, at most 5 % too high; or 0."""
        remaining = math.ceil(q * self.buckets.total())
        for bucket in sorted(self.buckets):
            remaining -= self.buckets[bucket]
            if remaining <= 0:
                return min(MIN_MS * GROWTH**bucket, self.max_ms)
        return 0.0


@dataclass(slots=True)
class RequestCounter:
    """Counts requests of one kind, or journeys."""

    sent: int = 0
    errors: int = 0
    latencies: LatencyHistogram = field(default_factory=LatencyHistogram)

    def add(self, ok: bool, milliseconds: float) -> None:
        """Count a request."""
        self.sent += 1
        self.errors += not ok
        self.latencies.add(milliseconds)

    def report(self) -> dict[str, Any]:
        """The counters as JSON."""
        quantiles = {name: round(self.latencies.quantile(q), 2) for name, q in QUANTILES.items()}
        latency = {**quantiles, "max": round(self.latencies.max_ms, 2)}
        return {"sent": self.sent, "errors": self.errors, "latency_ms": latency}


@dataclass(slots=True)
class TrafficCounters:
    """All counters of a run. Times are seconds of one monotonic clock.

    `fault_start` is when the fault was applied, `fault_end` when every sidecar had ACKed its removal:
    requests that finish earlier or are due later cannot have met it.
    """

    all: RequestCounter = field(default_factory=RequestCounter)
    recent: RequestCounter = field(default_factory=RequestCounter)
    journeys: RequestCounter = field(default_factory=RequestCounter)
    routes: dict[str, RequestCounter] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    phases: dict[str, RequestCounter] = field(
        default_factory=lambda: {name: RequestCounter() for name in PHASES}
    )
    fault_start: float = math.inf
    fault_end: float = math.inf

    def add(self, route: str, outcome: str, ok: bool, due: float, finished: float) -> None:
        """Count a request. Its latency is the time between `due` and `finished`."""
        milliseconds = (finished - due) * 1000
        phase = "before" if finished < self.fault_start else "during" if due < self.fault_end else "after"
        by_route = self.routes.setdefault(route, RequestCounter())
        for counter in (self.all, self.recent, by_route, self.phases[phase]):
            counter.add(ok, milliseconds)
        self.outcomes[outcome] += 1

    def take_recent(self) -> RequestCounter:
        """The requests since the last call."""
        recent, self.recent = self.recent, RequestCounter()
        return recent

    def report(self, planned: int, fault: str = "") -> dict[str, Any]:
        """All counters as JSON. `planned` is the number of journeys that were due.

        Their `started` and `unstarted` add up to `planned`; those with an error in a request are `failed`.
        The outcomes of the requests add up to `sent`.
        """
        of_journeys = self.journeys.report()
        started = of_journeys.pop("sent")
        counted = {"planned": planned, "unstarted": planned - started, "started": started}
        counted["failed"] = of_journeys.pop("errors")
        report: dict[str, Any] = {"journeys": {**counted, **of_journeys}, **self.all.report()}
        report["outcomes"] = dict(sorted(self.outcomes.items()))
        report["routes"] = {name: counter.report() for name, counter in sorted(self.routes.items())}
        if fault:
            phases = {name: counter.report() for name, counter in self.phases.items()}
            report["fault"] = {"fault": fault, **phases}
        return report
