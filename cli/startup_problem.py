"""When the start of a workload is hopeless. Pure."""

from __future__ import annotations

from dataclasses import dataclass

STUCK_AFTER = 10.0
"""Seconds after which an error that stays the same ends the start."""

MAX_ERRORS = 4
"""Number of errors of one workload that ends the start."""


@dataclass(frozen=True, slots=True)
class StartupProblem:
    """What keeps a workload from becoming ready.

    `current_error` is empty while nothing is wrong; `since` is when it appeared, `occurrences` counts errors.
    """

    last_error: str = ""
    current_error: str = ""
    since: float = 0.0
    occurrences: int = 0

    def observe(self, error: str, now: float) -> StartupProblem:
        """The problem after an observation; an empty `error` means that nothing is wrong now."""
        if error == self.current_error:
            return self
        return StartupProblem(error or self.last_error, error, now, self.occurrences + bool(error))

    def is_permanent(self, now: float) -> bool:
        """Whether to give up: the error does not go away, or keeps coming back."""
        return bool(self.current_error) and (now - self.since > STUCK_AFTER or self.occurrences >= MAX_ERRORS)
