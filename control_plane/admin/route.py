"""Routes of the admin API as data, for the server's routing table and the OpenAPI document."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from meshwright.control_plane.api.calls import PREFIX
from meshwright.control_plane.api.models.base import ApiModel


class RequestParams(ApiModel):
    """Base of a route's path and query parameters; unknown query parameters are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class NoParams(RequestParams):
    """A route without path and query parameters."""


class NoBody(ApiModel):
    """A route whose request has no body."""


class RawJson(ApiModel):
    """A response of several megabytes that already is JSON of the response model; it is sent unparsed."""

    text: str


@dataclass(frozen=True, slots=True)
class Route:
    """One operation.

    `path` is below `prefix`; `{name}` in it refers to a field of `params`, the other fields are query
    parameters. `errors` are the statuses it may respond with, besides those of every route. The handler's
    docstring is its description in the OpenAPI document.

    A `read_only` route also accepts the read-only token: it changes nothing, in the mesh or in a proxy, and
    exposes no secret. All others require the admin token.

    A route that `computes` takes long for large input: it waits for its turn and has a deadline
    (admin.compute).

    `stream` serves callers that accept text/event-stream. It receives the caller's last event id and yields
    blocks of text, at least once a second, if only an empty one.
    """

    method: Literal["GET", "POST", "PUT"]
    path: str
    operation_id: str
    summary: str
    handler: Callable[[Any, Any], Awaitable[BaseModel]]
    response: type[BaseModel]
    params: type[RequestParams] = NoParams
    body: type[ApiModel] = NoBody
    errors: tuple[int, ...] = ()
    read_only: bool = False
    computes: bool = False
    prefix: str = PREFIX
    stream: Callable[[Any, str], AsyncIterator[str]] | None = None

    @property
    def full_path(self) -> str:
        """The path with its prefix."""
        return self.prefix + self.path


class Router(Protocol):
    """Routes of one topic; its constructor takes what their handlers need."""

    def routes(self) -> Iterable[Route]:
        """Its routes."""
