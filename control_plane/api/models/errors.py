"""The error body of the admin API."""

from __future__ import annotations

from typing import Literal

from meshwright.control_plane.api.models.base import ApiModel


class ValidationProblem(ApiModel):
    """A problem at a location in a user's file; line and column count from 1."""

    path: str
    line: int = 1
    column: int = 1
    message: str


class ErrorInfo(ApiModel):
    """`code` is for programs, `message` for people."""

    code: Literal[
        "invalid",
        "unauthorized",
        "refused",
        "not-found",
        "not-allowed",
        "conflict",
        "too-large",
        "store-unavailable",
        "busy",
        "timeout",
        "internal",
    ]
    message: str
    problems: tuple[ValidationProblem, ...] = ()


class ErrorResponse(ApiModel):
    """The body of every error response."""

    error: ErrorInfo
