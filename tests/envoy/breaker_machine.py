"""The reference circuit breaker: closed, open, half-open. Pure; events and states are compared with Envoy's.

Closed: `failures` consecutive failures open it. Open: every call is refused, and there is no trial before
`open_for` has passed. Half-open: one trial. It closes if that passes and is open again, for as long, if not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["closed", "open"]


@dataclass(slots=True)
class BreakerMachine:
    """One breaker. Times are seconds of any clock; `opened_at` is the time of the failure that opened it."""

    failures: int
    open_for: float
    state: State = "closed"
    opened_at: float = 0.0
    consecutive: int = 0

    def call(self, *, succeeds: bool, now: float) -> bool:
        """A call. Returns whether it reaches the upstream."""
        if self.state == "open":
            return False
        self.consecutive = 0 if succeeds else self.consecutive + 1
        if self.consecutive == self.failures:
            self.state, self.opened_at = "open", now
        return True

    @property
    def is_open(self) -> bool:
        """Whether calls are refused."""
        return self.state == "open"

    def trial_is_due(self, now: float) -> bool:
        """Whether a trial may have been made by now."""
        return self.is_open and now >= self.opened_at + self.open_for

    def trial(self, *, passes: bool, now: float) -> None:
        """The trial, which ends at `now`."""
        assert self.trial_is_due(now), "a trial before openFor has passed"
        self.consecutive = 0
        if passes:
            self.state = "closed"
        else:
            self.opened_at = now

    def trials_failed(self, count: int, *, now: float, not_before: float) -> None:
        """So many trials have failed by `now`, the last one no earlier than `not_before`."""
        assert self.is_open
        assert now >= self.opened_at + count * self.open_for, "a trial before openFor has passed"
        self.opened_at = not_before
