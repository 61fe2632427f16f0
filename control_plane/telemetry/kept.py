"""Answers that stand for a moment, so that many who ask again and again cost what one does. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")

SHORTEST, LONGEST = 0.5, 2.0
"""Seconds that an answer stands: as long as nobody sees the difference, at most as long as a flush takes."""

COST = 25
"""An answer stands that many times as long as it took, within these bounds: 4 % of the time is for them."""


class Kept(Generic[Answer]):
    """The last answer to one question. `clock` is any that only goes forward, in seconds."""

    def __init__(self, ask: Callable[[], Answer], clock: Callable[[], float]) -> None:
        self._ask, self._clock = ask, clock
        self._answers: tuple[Answer, ...] = ()
        self._until = 0.0

    def __call__(self) -> Answer:
        """The answer, or the one of a moment ago."""
        begun = self._clock()
        if not self._answers or begun >= self._until:
            self._answers = (self._ask(),)
            done = self._clock()
            self._until = done + min(max((done - begun) * COST, SHORTEST), LONGEST)
        return self._answers[0]
