"""Errors between a client and the admin API, and the exit code of `mesh` for each.

Exit codes are part of the command line's contract: 1 failed, 2 bad input, 3 control plane unreachable,
4 a wait timed out, 5 rejected by Envoy, 6 revision conflict.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from meshwright.control_plane.errors import MeshError

FAILED, BAD_INPUT, UNREACHABLE, TIMED_OUT, REJECTED, CONFLICT = 1, 2, 3, 4, 5, 6

_EXIT_CODES = {
    "invalid": BAD_INPUT,
    "not-found": BAD_INPUT,
    "too-large": BAD_INPUT,
    "timeout": TIMED_OUT,
    "conflict": CONFLICT,
}


@dataclass(frozen=True, slots=True)
class SourceProblem:
    """A problem and its location; `line` and `column` count from 1."""

    path: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.message}"


class UnreachableError(MeshError):
    """No control plane responds at this address."""

    exit_code = UNREACHABLE

    def __init__(self, url: str, reason: str = "") -> None:
        because = f" ({reason})" if reason else ""
        super().__init__(
            f"control plane not reachable at {url}{because}: start it with `mesh up`, "
            "or name its state with --state"
        )


class ApiError(MeshError):
    """An error response of the admin API: HTTP status, machine-readable code, problems in documents."""

    def __init__(
        self, status: int, code: str, message: str, problems: tuple[SourceProblem, ...] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.problems = problems

    @property
    def exit_code(self) -> int:
        """The exit code of `mesh` for this error."""
        return _EXIT_CODES.get(self.code, FAILED)


def os_error_text(error: BaseException) -> str:
    """The operating system's message for a failed connection; without one, the error's class name."""
    number = getattr(error, "errno", None)
    return os.strerror(number).lower() if isinstance(number, int) and number > 0 else type(error).__name__


def parse_response(status: int, body: bytes) -> Any:
    """The JSON of a response, None if it is empty; raises ApiError for a status of 400 or above."""
    try:
        value = json.loads(body) if body else None
    except ValueError:
        raise ApiError(
            status, "unreadable", f"the response is not JSON (HTTP {status}): is this a mesh?"
        ) from None
    if status < 400:
        return value
    info = value.get("error") if isinstance(value, dict) else None
    if not isinstance(info, dict):
        raise ApiError(status, "unreadable", f"HTTP {status} without an explanation: is this a mesh?")
    problems = tuple(_problem(problem) for problem in info.get("problems", ()))
    raise ApiError(status, str(info.get("code", "")), str(info.get("message", "")), problems)


def _problem(problem: dict[str, Any]) -> SourceProblem:
    line, column = int(problem.get("line", 1)), int(problem.get("column", 1))
    return SourceProblem(str(problem.get("path", "")), line, column, str(problem.get("message", "")))
