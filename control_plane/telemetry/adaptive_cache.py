"""Answers that stand for a moment, so that many who ask again and again cost what one does. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")

MIN_TTL, MAX_TTL = 0.5, 2.0
"""Seconds that an answer stands: as long as nobody sees the difference, at most as long as a flush takes."""

TTL_PER_COST = 25
"""An answer stands that many times as long as it took, within these bounds: 4 % of the time is for them."""


class AdaptiveCache(Generic[Value]):
    """The last answer to one question. `clock` is any that only goes forward, in seconds."""

    def __init__(self, compute: Callable[[], Value], clock: Callable[[], float]) -> None:
        self._compute, self._clock = compute, clock
        self._values: tuple[Value, ...] = ()
        self._expires_at = 0.0

    def __call__(self) -> Value:
        """The answer, or the one of a moment ago."""
        begun = self._clock()
        if not self._values or begun >= self._expires_at:
            self._values = (self._compute(),)
            done = self._clock()
            self._expires_at = done + min(max((done - begun) * TTL_PER_COST, MIN_TTL), MAX_TTL)
        return self._values[0]
