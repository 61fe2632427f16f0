"""A service's operations, declared once: routing, validation and OpenAPI document derive from them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints
from pydantic.alias_generators import to_camel

from meshwright.services.kit.callers import Requester
from meshwright.services.kit.ids import ID_PATTERN

Id = Annotated[str, StringConstraints(pattern=f"^{ID_PATTERN}$")]
PlainText = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$", max_length=2000)]
"""Text without control characters (PostgreSQL stores no NUL)."""


def _to_int(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WholeNumber = Annotated[int, BeforeValidator(_to_int)]
"""An integer as JSON Schema defines it: includes 1.0, excludes strings and booleans."""

BodyT = TypeVar("BodyT")
QueryT = TypeVar("QueryT")


class HttpError(Exception):
    """An error response: HTTP status, a code for programs, a message for people."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class DatabaseUnavailableError(HttpError):
    """A database does not respond. Its text, for whoever operates it, says why; its message does not."""

    def __init__(self, reason: str) -> None:
        super().__init__(503, "database_unavailable", "the database does not respond: try again")
        self.reason = reason

    def __str__(self) -> str:
        return f"the database does not respond: {self.reason}"


class BodyModel(BaseModel):
    """Base of all bodies: frozen, camelCase in JSON, rejects unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class QueryModel(BaseModel):
    """Base of query strings and of others' messages: like bodies, but ignores unknown fields."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


class ErrorDetail(BodyModel):
    """`code` is for programs, `message` for people."""

    code: str
    message: str


class ErrorBody(BodyModel):
    """The body of every error response."""

    error: ErrorDetail


@dataclass(frozen=True, slots=True)
class OperationRequest(Generic[BodyT, QueryT]):
    """A validated request, by `caller_or_none`. `key` is its Idempotency-Key, empty if it has none."""

    path: Mapping[str, str]
    body: BodyT
    query: QueryT
    key: str = ""
    caller_or_none: Requester | None = None

    @property
    def caller(self) -> Requester:
        """Who sends the request, of an operation that needs a caller."""
        if self.caller_or_none is None:
            raise HttpError(401, "unauthenticated", "this request needs an access token: log in")
        return self.caller_or_none

    def check_may_read(self, user_id: str) -> None:
        """Raise HttpError unless the caller may see the data of a user."""
        if not self.caller.may_read(user_id):
            raise HttpError(403, "forbidden", "this is another person's data")


@dataclass(frozen=True, slots=True)
class OperationResponse:
    """A response. Without a body it is empty."""

    body: BaseModel | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """One method on one path.

    `responses` maps a status to its body, None for an empty one; errors need no entry. `needs_key`: requests
    without an Idempotency-Key are rejected. `needs_caller`: so are those without an access token, with 401;
    `roles`: and those of a caller with none of these roles, with 403.
    """

    method: str
    path: str
    summary: str
    handler: Callable[[OperationRequest[Any, Any]], Awaitable[OperationResponse]]
    responses: Mapping[int, type[BaseModel] | None]
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    needs_key: bool = False
    needs_caller: bool = False
    roles: frozenset[str] = frozenset()
