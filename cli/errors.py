"""How a verb fails: lines on stderr, and the exit code of the contract.

0 ok · 1 failed · 2 bad input or usage · 3 control plane unreachable · 4 a wait timed out · 5 rejected by
Envoy · 6 revision conflict · 130 interrupted.
"""

from __future__ import annotations

import sys

from meshwright.control_plane.api import errors
from meshwright.control_plane.errors import InputError, MeshError, NotFoundError, RevisionConflictError

INTERRUPTED = 130
"""128 + SIGINT, as shells count."""


class CommandError(MeshError):
    """A verb's own end: its exit code and what to say on stderr (may be several lines)."""

    def __init__(self, exit_code: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def exit_code(error: MeshError) -> int:
    """The exit code of an error."""
    if isinstance(error, CommandError | errors.UnreachableError | errors.ApiError):
        return error.exit_code
    if isinstance(error, RevisionConflictError):
        return errors.CONFLICT
    return errors.BAD_INPUT if isinstance(error, InputError | NotFoundError) else errors.FAILED


def print_error(error: MeshError) -> None:
    """Print an error to stderr: each problem's place on a line of its own, else the message."""
    if isinstance(error, errors.ApiError) and error.problems:
        for problem in error.problems:
            warn(str(problem))
        return
    warn(str(error))


def warn(message: str) -> None:
    """Print to stderr; control characters of foreign text are made harmless."""
    for line in message.splitlines() or [""]:
        sys.stderr.write("".join(c if c.isprintable() or c == "\t" else "?" for c in line) + "\n")
