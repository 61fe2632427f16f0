"""When the start of a workload is hopeless. Pure."""

from __future__ import annotations

from dataclasses import dataclass

STUCK_AFTER = 10.0
"""Seconds after which an error that stays the same ends the start."""

MAX_ERRORS = 4
"""Number of errors of one workload that ends the start."""

BUSY_SIGNS = ("Deadline Exceeded", "waiting for its listeners")
"""What a problem says that a busy machine has too: a control plane that has not answered yet."""


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
        counts = bool(error) and not _is_busy(error)
        return StartupProblem(error or self.last_error, error, now, self.occurrences + counts)

    def is_permanent(self, now: float) -> bool:
        """Whether to give up: the error does not go away, or keeps coming back. What may be a busy machine's
        only ends with the time that the start has.
        """
        if not self.current_error or _is_busy(self.current_error):
            return False
        return now - self.since > STUCK_AFTER or self.occurrences >= MAX_ERRORS


def _is_busy(error: str) -> bool:
    return all(any(sign in part for sign in BUSY_SIGNS) for part in error.split("; "))
