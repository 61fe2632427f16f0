"""When an ejected instance is tried, and what came of it: the half-open state of circuit breakers. Pure.

Envoy ejects an instance, and this book notes when that was seen. After `openFor` one trial is due. If it
passes, Envoy readmits the instance; if it fails, the next trial is due after another `openFor`. Times are
seconds of a monotonic clock.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Set
from dataclasses import dataclass, replace
from typing import NamedTuple


class TriedInstance(NamedTuple):
    """One instance (`ip:port`) of one upstream cluster."""

    cluster: str
    address: str


@dataclass(frozen=True, slots=True)
class TrialCounts:
    """Of one cluster: trials that are running or ran since the last collection, and all so far by outcome."""

    half_open: int = 0
    passed: int = 0
    failed: int = 0


class TrialBook:
    """The ejected instances of one proxy whose clusters have trials."""

    def __init__(self) -> None:
        self.clusters: set[str] = set()
        self._ejected_at: dict[TriedInstance, float] = {}
        self._running: set[TriedInstance] = set()
        self._recent: set[TriedInstance] = set()
        self._trusted_from: dict[TriedInstance, float] = {}
        self._counts: dict[str, TrialCounts] = {}

    @property
    def is_open(self) -> bool:
        """Whether some instance is ejected, or was tried since the last collection."""
        return bool(self._ejected_at or self._recent)

    @property
    def noted(self) -> Set[TriedInstance]:
        """The instances that are ejected, as far as is known."""
        return self._ejected_at.keys()

    def observe(self, ejected: Set[TriedInstance], *, read_at: float, now: float) -> bool:
        """Note what is ejected, as Envoy said when asked at `read_at`; whether any instance was not before.

        Of an instance that passed its trial nothing is believed until Envoy's next check of it: until then
        Envoy may not have readmitted it, and a later ejection would seem to be the one before the trial.
        """
        ejected_at, trusted = self._ejected_at, self._trusted_from
        new = {
            key
            for key in ejected
            if key not in ejected_at and key.cluster in self.clusters and read_at >= trusted.get(key, 0.0)
        }
        remaining = ejected | self._running
        self._ejected_at = {key: at for key, at in ejected_at.items() if key in remaining}
        self._ejected_at |= dict.fromkeys(new, now)
        self._trusted_from = {key: since for key, since in trusted.items() if since > read_at}
        return bool(new)

    def check_arrived(self, key: TriedInstance, now: float) -> None:
        """Envoy sends the next check of an instance: it has dealt with the answer to the last one."""
        if key in self._trusted_from:
            self._trusted_from[key] = now

    def due(self, key: TriedInstance, open_for: float) -> float | None:
        """When the next trial of an instance is due; None while it is not ejected."""
        ejected_at = self._ejected_at.get(key)
        return None if ejected_at is None or key in self._running else ejected_at + open_for

    def begin(self, key: TriedInstance) -> None:
        """A trial starts."""
        self._running.add(key)
        self._recent.add(key)

    def end(self, key: TriedInstance, *, passed: bool, now: float) -> None:
        """A trial has ended: the instance returns, or its time starts again."""
        self._running.discard(key)
        counts = self._counts.get(key.cluster, TrialCounts())
        if passed:
            self._ejected_at.pop(key, None)
            self._trusted_from[key] = math.inf
            self._counts[key.cluster] = replace(counts, passed=counts.passed + 1)
        else:
            self._ejected_at[key] = now
            self._counts[key.cluster] = replace(counts, failed=counts.failed + 1)

    def abandon(self, key: TriedInstance) -> None:
        """A trial ended without an outcome: it is due again."""
        self._running.discard(key)

    def collect(self) -> dict[str, TrialCounts]:
        """The counts of every cluster that had a trial; trials that have ended are half-open only once."""
        half_open = Counter(key.cluster for key in self._recent | self._running)
        self._recent = set()
        names = self._counts.keys() | half_open.keys()
        return {
            name: replace(self._counts.get(name, TrialCounts()), half_open=half_open[name]) for name in names
        }
