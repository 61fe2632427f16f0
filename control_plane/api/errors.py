"""What can go wrong between a client and the admin API, and the exit code that `mesh` gives each.

The codes are the contract of the command line: 1 failed, 2 bad input, 3 control plane unreachable,
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
    "unanswered": TIMED_OUT,
    "conflict": CONFLICT,
}


@dataclass(frozen=True, slots=True)
class SourceProblem:
    """One problem and where it is: `line` and `column` count from 1."""

    path: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.message}"


class UnreachableError(MeshError):
    """No control plane answers at the address that was found."""

    exit_code = UNREACHABLE

    def __init__(self, url: str, reason: str = "") -> None:
        because = f" ({reason})" if reason else ""
        super().__init__(
            f"control plane not reachable at {url}{because}: start it with `mesh up`, "
            "or name its state with --state"
        )


class ApiError(MeshError):
    """The admin API refused: its status, its code for programs, and the places of what is wrong."""

    def __init__(
        self, status: int, code: str, message: str, problems: tuple[SourceProblem, ...] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.problems = problems

    @property
    def exit_code(self) -> int:
        """The exit code that `mesh` gives this error."""
        return _EXIT_CODES.get(self.code, FAILED)


def os_error_text(error: BaseException) -> str:
    """The operating system's words for a failed connection, else the error's name."""
    number = getattr(error, "errno", None)
    return os.strerror(number).lower() if isinstance(number, int) and number > 0 else type(error).__name__


def parse_response(status: int, body: bytes) -> Any:
    """The JSON of an answer, None when it is empty; raises ApiError for a status of 400 or above."""
    try:
        value = json.loads(body) if body else None
    except ValueError:
        raise ApiError(
            status, "unreadable", f"the answer is no JSON (HTTP {status}): is this a mesh?"
        ) from None
    if status < 400:
        return value
    fault = value.get("error") if isinstance(value, dict) else None
    if not isinstance(fault, dict):
        raise ApiError(status, "unreadable", f"HTTP {status} without an explanation: is this a mesh?")
    places = tuple(
        SourceProblem(
            str(p.get("path", "")), int(p.get("line", 1)), int(p.get("column", 1)), str(p.get("message", ""))
        )
        for p in fault.get("problems", ())
    )
    raise ApiError(status, str(fault.get("code", "")), str(fault.get("message", "")), places)
