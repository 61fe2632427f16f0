"""The requests that all control planes were told of, as one store: each proxy tells one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeVar

from pydantic import Field, ValidationError

from control_plane.api.requested import Heard, Request, Requests, Tap
from control_plane.api.types import Message
from control_plane.errors import InputError
from control_plane.peers.server import Answer
from control_plane.telemetry.requests import Requests as Own

LIMIT = 1000
"""Requests in one answer."""

Asked = TypeVar("Asked", bound=Message)


class Peers(Protocol):
    """The other control planes (peers.app.Peers)."""

    id: str

    def answers(self, method: str, answer: Answer) -> None:
        """Serve a method to peers."""

    async def everyone(self, method: str, request: bytes = b"") -> list[bytes]:
        """The answers of all that give one soon."""


class Listing(Message):
    """What requests to list."""

    limit: int = Field(ge=1, le=LIMIT)
    service: str = ""
    errors: bool = False
    since: float = 0.0


class Named(Message):
    """An id, whole or how it begins."""

    id: str = Field(max_length=128)
    most: int = 2


class Names(Message):
    """Ids that were found."""

    ids: tuple[str, ...] = ()


class Listening(Message):
    """What a listener wants, and how far it has heard."""

    tap: Tap
    marks: dict[str, int] = Field({})
    limit: int = Field(ge=0, le=LIMIT)


class SharedRequests:
    """`own` are those that were told here."""

    def __init__(self, own: Own, peers: Peers) -> None:
        self._own = own
        self._peers = peers
        peers.answers("RequestsListed", self._listed)
        peers.answers("RequestsNamed", self._named)
        peers.answers("RequestsFound", self._found)
        peers.answers("RequestsHeard", self._heard)

    async def listed(
        self, limit: int, *, service: str = "", errors: bool = False, since: float = 0.0
    ) -> tuple[Request, ...]:
        """At most `limit` requests, newest first: told by or sent to `service`, failed, begun since then."""
        wanted = Listing(limit=limit, service=service, errors=errors, since=since)
        found = list(self._own.listed(limit, service=service, errors=errors, since=since))
        for answer in await self._ask("RequestsListed", wanted, Requests):
            found += answer.requests
        return tuple(sorted(found, key=lambda one: one.time, reverse=True)[:limit])

    async def named(self, prefix: str, most: int) -> tuple[str, ...]:
        """Ids of requests and traces that begin so, at most `most`; one that is meant whole stands alone."""
        found = set(self._own.named(prefix, most))
        for answer in await self._ask("RequestsNamed", Named(id=prefix, most=most), Names):
            found.update(answer.ids)
        return (prefix,) if prefix in found else tuple(sorted(found))[:most]

    async def find(self, id: str) -> tuple[Request, ...]:
        """All that is kept of a request or trace, in the order of their begin; empty: nothing."""
        found = list(self._own.find(id))
        for answer in await self._ask("RequestsFound", Named(id=id), Requests):
            found += answer.requests
        return tuple(sorted(found, key=lambda one: one.time))

    async def heard(self, tap: Tap, marks: Mapping[str, int], limit: int) -> Heard:
        """What came since `marks` (empty: nothing yet, only where to begin), the oldest first."""
        wanted = Listening(tap=tap, marks=dict(marks), limit=limit)
        parts = [self._since(wanted), *await self._ask("RequestsHeard", wanted, Heard)]
        found = sorted((one for part in parts for one in part.requests), key=lambda one: one.time)
        newest = dict(marks)
        for part in parts:
            newest.update(part.marks)
        more = sum(part.more for part in parts) + max(0, len(found) - limit)
        return Heard(requests=tuple(found[:limit]), more=more, marks=newest)

    # --- asking and answering -----------------------------------------------------------------------

    async def _ask(self, method: str, wanted: Message, kind: type[Asked]) -> list[Asked]:
        """What peers answer; one that is not understood is passed over."""
        found = []
        for answer in await self._peers.everyone(method, wanted.model_dump_json().encode()):
            try:
                found.append(kind.model_validate_json(answer))
            except ValidationError:
                continue
        return found

    async def _listed(self, request: bytes) -> bytes:
        asked = _read(request, Listing)
        found = self._own.listed(asked.limit, service=asked.service, errors=asked.errors, since=asked.since)
        return _write(Requests(requests=found))

    async def _named(self, request: bytes) -> bytes:
        asked = _read(request, Named)
        return _write(Names(ids=self._own.named(asked.id, asked.most)))

    async def _found(self, request: bytes) -> bytes:
        return _write(Requests(requests=self._own.find(_read(request, Named).id)))

    async def _heard(self, request: bytes) -> bytes:
        return _write(self._since(_read(request, Listening)))

    def _since(self, asked: Listening) -> Heard:
        id = self._peers.id
        if id not in asked.marks:
            return Heard(marks={id: self._own.newest})
        found, more, newest = self._own.after(asked.marks[id], asked.tap, asked.limit)
        return Heard(requests=found, more=more, marks={id: newest})


def _read(request: bytes, kind: type[Asked]) -> Asked:
    try:
        return kind.model_validate_json(request)
    except ValidationError:
        raise InputError(f"not a {kind.__name__} in JSON") from None


def _write(message: Message) -> bytes:
    return message.model_dump_json(by_alias=True).encode()
