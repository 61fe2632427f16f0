"""Notices that the control plane answers proxies too late: they have gone on without it by then.

A proxy waits 40 ms (RateLimit's filter). On a machine that is too busy a global limit with `onFailure: deny`
refuses requests with 503 then, and one with `allow` lets everything pass: nobody would see that otherwise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

WINDOW = 10.0
"""Seconds over which answers are counted."""

SERIOUS_SHARE, SERIOUS_COUNT = 0.01, 3
"""Late answers within a window from which they are a problem: both this share of all and this number."""


class LateAnswers:
    """Counts answers. `report` gets the problem, at the end of each window; empty: there is none any more."""

    def __init__(self, report: Callable[[str], None], window: float = WINDOW) -> None:
        self._report = report
        self._window = window
        self._total = self._late = 0
        self._closing: asyncio.TimerHandle | None = None

    def add(self, *, late: bool) -> None:
        """An answer was in time, or late."""
        self._total += 1
        self._late += late
        if self._closing is None:
            self._open()

    def _open(self) -> None:
        self._closing = asyncio.get_running_loop().call_later(self._window, self._close)

    def _close(self) -> None:
        is_serious = self._late >= max(SERIOUS_COUNT, SERIOUS_SHARE * self._total)
        problem = late_problem(self._late, self._total, self._window) if is_serious else ""
        self._report(problem)
        self._total = self._late = 0
        self._closing = None
        if problem:  # a window without answers ends it
            self._open()


def late_problem(late: int, total: int, seconds: float) -> str:
    """The problem in words."""
    return (
        f"global rate limits: {late} of {total} answers within {seconds:g} s came too late for the proxies: "
        "the control plane is too busy, and onFailure of each RateLimit decides"
    )
