"""Error responses: the status and body for every exception that a handler may raise."""

from __future__ import annotations

from meshwright.control_plane.api.models.errors import ErrorInfo, ErrorResponse, ValidationProblem
from meshwright.control_plane.errors import (
    CommandTimeoutError,
    InputError,
    LimitExceededError,
    MeshError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    RevisionConflictError,
    StoreError,
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
    "timeout": 504,
}

_CODES: tuple[tuple[type[MeshError], str], ...] = (
    (InputError, "invalid"),
    (NotFoundError, "not-found"),
    (RevisionConflictError, "conflict"),
    (PermissionDeniedError, "refused"),
    (StoreError, "store-unavailable"),
    (OverloadedError, "busy"),
    (LimitExceededError, "too-large"),
    (CommandTimeoutError, "timeout"),
)


class DocumentsError(InputError):
    """Invalid documents, each problem with its location: HTTP 422."""

    def __init__(self, problems: tuple[ValidationProblem, ...]) -> None:
        super().__init__("\n".join(f"{p.path}:{p.line}:{p.column}: {p.message}" for p in problems))
        self.problems = problems


def error_response(error: MeshError) -> tuple[int, ErrorResponse]:
    """The status and body for an error."""
    if isinstance(error, DocumentsError):
        count = len(error.problems)
        message = f"{count} problem{'' if count == 1 else 's'} in the documents; nothing was applied"
        return 422, error_body("invalid", message, error.problems)
    code = next((code for kind, code in _CODES if isinstance(error, kind)), "internal")
    return STATUSES[code], error_body(code, str(error))


def error_body(code: str, message: str, problems: tuple[ValidationProblem, ...] = ()) -> ErrorResponse:
    """The body of an error response; `code` is one of ErrorInfo's."""
    info = ErrorInfo.model_validate({"code": code, "message": message, "problems": problems})
    return ErrorResponse(error=info)
