"""The routes of the admin API as data: from them come the server's table and the OpenAPI document."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from meshwright.control_plane.admin.context import AdminContext
from meshwright.control_plane.api.calls import PREFIX
from meshwright.control_plane.api.models.base import ApiModel

Params = TypeVar("Params", bound=ApiModel)
Body = TypeVar("Body", bound=ApiModel)


class RequestParams(ApiModel):
    """Base of what a route takes from its path and query; unknown query parameters are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class NoParams(RequestParams):
    """A route that takes nothing from path and query."""


class NoBody(ApiModel):
    """A route whose request has no body."""


class RawJson(ApiModel):
    """An answer of megabytes, JSON already and in the form of the reply: it is passed on unread."""

    text: str


@dataclass(frozen=True, slots=True)
class Route:
    """One operation.

    `path` is below `prefix`, with `{name}` for fields of `params` in it; the other fields of `params` are
    query parameters. `errors` are the statuses it may answer besides those that every route may.

    What `shows` takes the token that may only read, too: it changes nothing, in the mesh or in a proxy, and
    tells no secret. Whatever does not say so takes the admin token.

    `stream` answers those who accept text/event-stream: it takes the last event id that they had, and gives
    blocks of text to send and, at least once a second, an empty one.
    """

    method: Literal["GET", "POST", "PUT"]
    path: str
    operation_id: str
    summary: str
    handler: Callable[[AdminContext, Any, Any], Awaitable[BaseModel]]
    response: type[BaseModel]
    params: type[RequestParams] = NoParams
    body: type[ApiModel] = NoBody
    errors: tuple[int, ...] = ()
    read_only: bool = False
    prefix: str = PREFIX
    stream: Callable[[AdminContext, Any, str], AsyncIterator[str]] | None = None

    @property
    def full_path(self) -> str:
        """The whole path."""
        return self.prefix + self.path
