"""Which moments are kept: every one of the last hour, one a minute before, within a time and a size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

STEP = 10
"""Seconds between two moments: the window over which rates are measured, so that none is left out."""

FINE_SECONDS = 3600
"""The age until which every moment is kept."""

COARSE_STEP = 60
"""Seconds between two moments that are older."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A moment that the store has: its `time` in epoch seconds, its `size` in bytes."""

    time: int
    size: int


@dataclass(frozen=True, slots=True)
class Retention:
    """For how long moments are kept, in seconds, and how many bytes they may take; 0 seconds: none."""

    seconds: float
    max_bytes: int

    def surplus(self, entries: Sequence[Kept], now: float) -> tuple[Kept, ...]:
        """What is to be removed: too old, a further one of its minute, then the oldest beyond the size."""
        remaining: list[Kept] = []
        surplus: list[Kept] = []
        minutes: set[int] = set()
        for entry in sorted(entries, key=lambda entry: entry.time):
            age, minute = now - entry.time, entry.time // COARSE_STEP
            if age > self.seconds or (age > FINE_SECONDS and minute in minutes):
                surplus.append(entry)
            else:
                minutes.add(minute)
                remaining.append(entry)
        excess = sum(entry.size for entry in remaining) - self.max_bytes
        for entry in remaining:
            if excess <= 0:
                break
            surplus.append(entry)
            excess -= entry.size
        return tuple(surplus)
