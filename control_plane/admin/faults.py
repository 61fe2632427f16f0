"""Errors as answers: the status and the JSON form of every exception that a route may raise."""

from __future__ import annotations

from control_plane.api.messages import Fault, FaultReply, Problem
from control_plane.errors import (
    BusyError,
    InputError,
    MeshError,
    NotFoundError,
    RefusedError,
    RevisionConflict,
    StoreError,
    UnansweredError,
)

STATUSES = {
    "invalid": 400,
    "unauthorized": 401,
    "refused": 403,
    "not-found": 404,
    "not-allowed": 405,
    "conflict": 409,
    "too-large": 413,
    "internal": 500,
    "store-unavailable": 503,
    "busy": 503,
    "unanswered": 504,
}

_CODES: tuple[tuple[type[MeshError], str], ...] = (
    (InputError, "invalid"),
    (NotFoundError, "not-found"),
    (RevisionConflict, "conflict"),
    (RefusedError, "refused"),
    (StoreError, "store-unavailable"),
    (BusyError, "busy"),
    (UnansweredError, "unanswered"),
)


class DocumentsError(InputError):
    """Documents that are refused, each problem with its place: HTTP 422."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(f"{p.path}:{p.line}:{p.column}: {p.message}" for p in problems))
        self.problems = problems


def answer(error: MeshError) -> tuple[int, FaultReply]:
    """The status and body for an error."""
    if isinstance(error, DocumentsError):
        count = len(error.problems)
        message = f"{count} problem{'' if count == 1 else 's'} in the documents; nothing was applied"
        return 422, fault("invalid", message, error.problems)
    code = next((code for kind, code in _CODES if isinstance(error, kind)), "internal")
    return STATUSES[code], fault(code, str(error))


def fault(code: str, message: str, problems: tuple[Problem, ...] = ()) -> FaultReply:
    """An error in the form of the API; `code` is one of Fault's."""
    return FaultReply(error=Fault.model_validate({"code": code, "message": message, "problems": problems}))
