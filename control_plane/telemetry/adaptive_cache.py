"""A cache whose lifetime follows the cost of the value, so that many requests cost about as much as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")

MIN_TTL, MAX_TTL = 0.5, 2.0
"""Bounds of the lifetime in seconds: short enough that nobody notices, at most one flush interval."""

TTL_PER_COST = 25
"""A value lives this many times as long as it took to compute, so computing takes at most 4 % of the time."""


class AdaptiveCache(Generic[Value]):
    """Caches one value. `clock` is any monotonic clock, in seconds."""

    def __init__(self, compute: Callable[[], Value], clock: Callable[[], float]) -> None:
        self._compute, self._clock = compute, clock
        self._values: tuple[Value, ...] = ()
        self._expires_at = 0.0

    def __call__(self) -> Value:
        """The cached value, computed if it has expired."""
        start = self._clock()
        if not self._values or start >= self._expires_at:
            self._values = (self._compute(),)
            end = self._clock()
            self._expires_at = end + min(max((end - start) * TTL_PER_COST, MIN_TTL), MAX_TTL)
        return self._values[0]
