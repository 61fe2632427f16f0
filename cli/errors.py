"""How a command fails: one line per problem on stderr, and an exit code.

0 ok · 1 failed · 2 bad input or usage · 3 control plane unreachable · 4 --wait timed out · 5 rejected by
Envoy · 6 revision conflict · 130 interrupted.
"""

from __future__ import annotations

import sys

from meshwright.control_plane.api import errors
from meshwright.control_plane.errors import InputError, MeshError, NotFoundError, RevisionConflictError

INTERRUPTED = 130
"""128 + SIGINT, the convention of shells."""


class CommandError(MeshError):
    """A command failed: its exit code and the message for stderr, which may have several lines."""

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
    """Print an error to stderr: each of its problems on a line, or its message if it has none."""
    if isinstance(error, errors.ApiError) and error.problems:
        for problem in error.problems:
            warn(str(problem))
        return
    warn(str(error))


def warn(message: str) -> None:
    """Print to stderr. Control characters become `?`."""
    for line in message.splitlines() or [""]:
        sys.stderr.write("".join(c if c.isprintable() or c == "\t" else "?" for c in line) + "\n")
