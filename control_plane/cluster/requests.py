"""The requests that all control planes were told of, as one store: each proxy tells one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeVar

from pydantic import Field, ValidationError

from meshwright.control_plane.api.models.base import ApiModel
from meshwright.control_plane.api.models.requests import Request, RequestList, RequestPage, TapFilter
from meshwright.control_plane.cluster.service import MethodHandler
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.telemetry.requests.store import RequestStore as Own

MAX_REQUESTS = 1000
"""Requests in one answer."""

Asked = TypeVar("Asked", bound=ApiModel)


class PeerClient(Protocol):
    """The other control planes (peers.app.Peers)."""

    id: str

    def register_method(self, method: str, answer: MethodHandler) -> None:
        """Serve a method to peers."""

    async def broadcast(self, method: str, request: bytes = b"") -> list[bytes]:
        """The answers of all that give one soon."""


class RequestListQuery(ApiModel):
    """What requests to list."""

    limit: int = Field(ge=1, le=MAX_REQUESTS)
    service: str = ""
    errors: bool = False
    since: float = 0.0


class IdQuery(ApiModel):
    """An id, whole or how it begins."""

    id: str = Field(max_length=128)
    limit: int = 2


class IdList(ApiModel):
    """Ids that were found."""

    ids: tuple[str, ...] = ()


class TapCursor(ApiModel):
    """What a listener wants, and how far it has heard."""

    tap: TapFilter
    marks: dict[str, int] = Field({})
    limit: int = Field(ge=0, le=MAX_REQUESTS)


class ClusterRequests:
    """`own` are those that were told here."""

    def __init__(self, own: Own, peers: PeerClient) -> None:
        self._own = own
        self._peers = peers
        peers.register_method("RequestsListed", self._listed)
        peers.register_method("RequestsNamed", self._named)
        peers.register_method("RequestsFound", self._found)
        peers.register_method("RequestsHeard", self._heard)

    async def recent(
        self, limit: int, *, service: str = "", errors: bool = False, since: float = 0.0
    ) -> tuple[Request, ...]:
        """At most `limit` requests, newest first: told by or sent to `service`, failed, begun since then."""
        wanted = RequestListQuery(limit=limit, service=service, errors=errors, since=since)
        found = list(self._own.recent(limit, service=service, errors=errors, since=since))
        for answer in await self._ask("RequestsListed", wanted, RequestList):
            found += answer.requests
        return tuple(sorted(found, key=lambda one: one.time, reverse=True)[:limit])

    async def ids_with_prefix(self, prefix: str, most: int) -> tuple[str, ...]:
        """Ids of requests and traces that begin so, at most `most`; one that is meant whole stands alone."""
        found = set(self._own.ids_with_prefix(prefix, most))
        for answer in await self._ask("RequestsNamed", IdQuery(id=prefix, limit=most), IdList):
            found.update(answer.ids)
        return (prefix,) if prefix in found else tuple(sorted(found))[:most]

    async def find(self, id: str) -> tuple[Request, ...]:
        """All that is kept of a request or trace, in the order of their begin; empty: nothing."""
        found = list(self._own.find(id))
        for answer in await self._ask("RequestsFound", IdQuery(id=id), RequestList):
            found += answer.requests
        return tuple(sorted(found, key=lambda one: one.time))

    async def tap(self, tap: TapFilter, marks: Mapping[str, int], limit: int) -> RequestPage:
        """What came since `marks` (empty: nothing yet, only where to begin), the oldest first."""
        wanted = TapCursor(tap=tap, marks=dict(marks), limit=limit)
        parts = [self._since(wanted), *await self._ask("RequestsHeard", wanted, RequestPage)]
        found = sorted((one for part in parts for one in part.requests), key=lambda one: one.time)
        newest = dict(marks)
        for part in parts:
            newest.update(part.cursor)
        more = sum(part.omitted for part in parts) + max(0, len(found) - limit)
        return RequestPage(requests=tuple(found[:limit]), omitted=more, cursor=newest)

    # --- asking and answering -----------------------------------------------------------------------

    async def _ask(self, method: str, wanted: ApiModel, kind: type[Asked]) -> list[Asked]:
        """What peers answer; one that is not understood is passed over."""
        found = []
        for answer in await self._peers.broadcast(method, wanted.model_dump_json().encode()):
            try:
                found.append(kind.model_validate_json(answer))
            except ValidationError:
                continue
        return found

    async def _listed(self, request: bytes) -> bytes:
        asked = _read(request, RequestListQuery)
        found = self._own.recent(asked.limit, service=asked.service, errors=asked.errors, since=asked.since)
        return _write(RequestList(requests=found))

    async def _named(self, request: bytes) -> bytes:
        asked = _read(request, IdQuery)
        return _write(IdList(ids=self._own.ids_with_prefix(asked.id, asked.limit)))

    async def _found(self, request: bytes) -> bytes:
        return _write(RequestList(requests=self._own.find(_read(request, IdQuery).id)))

    async def _heard(self, request: bytes) -> bytes:
        return _write(self._since(_read(request, TapCursor)))

    def _since(self, asked: TapCursor) -> RequestPage:
        id = self._peers.id
        if id not in asked.marks:
            return RequestPage(cursor={id: self._own.last_seq})
        found, more, newest = self._own.after(asked.marks[id], asked.tap, asked.limit)
        return RequestPage(requests=found, omitted=more, cursor={id: newest})


def _read(request: bytes, kind: type[Asked]) -> Asked:
    try:
        return kind.model_validate_json(request)
    except ValidationError:
        raise InputError(f"not a {kind.__name__} in JSON") from None


def _write(message: ApiModel) -> bytes:
    return message.model_dump_json(by_alias=True).encode()
