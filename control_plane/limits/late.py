"""Notices that the control plane answers proxies too late: they have gone on without it by then.

A proxy waits 40 ms (RateLimit's filter). On a machine that is too busy a global limit with `onFailure: deny`
refuses requests with 503 then, and one with `allow` lets everything pass: nobody would see that otherwise.
A question that was given up before it was read is never seen here: so it counts, too, how long nothing ran.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

WINDOW = 10.0
"""Seconds over which answers are counted."""

SERIOUS_SHARE, SERIOUS_COUNT = 0.01, 3
"""Late answers within a window from which they are a problem: both this share of all and this number."""


SERIOUS_STALL = 0.05
"""The share of a window for which nothing ran from which on that is a problem."""

TICK, STALL = 0.02, 0.025
"""Seconds between two looks. Nothing ran if one is later than this: no answer is in time then."""


class LateAnswers:
    """Counts answers. `report` gets the problem, at the end of each window; empty: there is none any more."""

    def __init__(self, report: Callable[[str], None], window: float = WINDOW) -> None:
        self._report = report
        self._window = window
        self._total = self._late = 0
        self._stalled = 0.0
        self._looks = False
        self._closing: asyncio.TimerHandle | None = None

    def add(self, *, late: bool) -> None:
        """An answer was in time, or late."""
        self._total += 1
        self._late += late
        if self._closing is None:
            self._open()

    def _open(self) -> None:
        loop = asyncio.get_running_loop()
        self._closing = loop.call_later(self._window, self._close)
        if not self._looks:
            self._looks = True
            loop.call_later(TICK, self._look, loop.time() + TICK)

    def _look(self, due: float) -> None:
        loop = asyncio.get_running_loop()
        behind = loop.time() - due
        if behind > STALL:
            self._stalled += behind
        self._looks = self._closing is not None
        if self._looks:
            loop.call_later(TICK, self._look, loop.time() + TICK)

    def _close(self) -> None:
        problem = late_problem(self._late, self._total, self._stalled, self._window)
        self._report(problem)
        self._total = self._late = 0
        self._stalled = 0.0
        self._closing = None
        if problem:  # a window without answers ends it
            self._open()


def late_problem(late: int, total: int, stalled: float, seconds: float) -> str:
    """The problem in words; empty if there is none. `stalled` of the `seconds` nothing ran."""
    are_late = late >= max(SERIOUS_COUNT, SERIOUS_SHARE * total)
    if not are_late and stalled < SERIOUS_STALL * seconds:
        return ""
    return (
        f"global rate limits: within {seconds:g} s the control plane stood still for {stalled:.1f} s, and "
        f"{late} of {total} answers came too late for the proxies: it is too busy, and onFailure of each "
        "RateLimit decides"
    )
