"""The routes of the admin API as data: from them come the server's table and the OpenAPI document."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from control_plane.admin.mesh import Mesh
from control_plane.api.operations import PREFIX
from control_plane.api.types import Message

Params = TypeVar("Params", bound=Message)
Body = TypeVar("Body", bound=Message)


class PathAndQuery(Message):
    """Base of what a route takes from its path and query; unknown query parameters are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class NoParams(PathAndQuery):
    """A route that takes nothing from path and query."""


class NoBody(Message):
    """A route whose request has no body."""


class Verbatim(Message):
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
    operation: str
    summary: str
    answer: Callable[[Mesh, Any, Any], Awaitable[BaseModel]]
    reply: type[BaseModel]
    params: type[PathAndQuery] = NoParams
    body: type[Message] = NoBody
    errors: tuple[int, ...] = ()
    shows: bool = False
    prefix: str = PREFIX
    stream: Callable[[Mesh, Any, str], AsyncIterator[str]] | None = None

    @property
    def address(self) -> str:
        """The whole path."""
        return self.prefix + self.path
