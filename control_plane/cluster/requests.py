"""The requests reported to all control planes as one store: each proxy reports to one of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import ValidationError

from meshwright.control_plane.api.models.requests import Request, RequestPage, TapFilter
from meshwright.control_plane.cluster import cluster_pb2 as pb
from meshwright.control_plane.cluster.methods import (
    FIND_REQUEST_IDS,
    FIND_REQUESTS,
    LIST_REQUESTS,
    TAP_REQUESTS,
)
from meshwright.control_plane.cluster.peer_client import PeerClient
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.telemetry.requests.store import RequestStore

MAX_REQUESTS = 1000
"""Requests in one response."""


class ClusterRequests:
    """`local` holds the requests reported to this control plane."""

    def __init__(self, local: RequestStore, peers: PeerClient) -> None:
        self._local = local
        self._peers = peers
        peers.register_method(LIST_REQUESTS, self._serve_list)
        peers.register_method(FIND_REQUEST_IDS, self._serve_ids)
        peers.register_method(FIND_REQUESTS, self._serve_find)
        peers.register_method(TAP_REQUESTS, self._serve_tap)

    # --- queries --------------------------------------------------------------------------------------

    async def recent(
        self, limit: int, *, service: str = "", errors: bool = False, since: float = 0.0
    ) -> tuple[Request, ...]:
        """Up to `limit` requests, newest first: reported by or sent to `service`, failed, started since."""
        query = pb.RequestListQuery(limit=limit, service=service, errors=errors, since=since)
        requests = list(self._local.recent(limit, service=service, errors=errors, since=since))
        for response in await self._peers.broadcast(LIST_REQUESTS, query):
            requests += _parse(response.requests_json)
        return tuple(sorted(requests, key=lambda request: request.time, reverse=True)[:limit])

    async def ids_with_prefix(self, prefix: str, limit: int) -> tuple[str, ...]:
        """Up to `limit` ids of requests and traces with this prefix. An exact match is returned alone."""
        ids = set(self._local.ids_with_prefix(prefix, limit))
        for response in await self._peers.broadcast(FIND_REQUEST_IDS, pb.IdQuery(id=prefix, limit=limit)):
            ids.update(response.ids)
        return (prefix,) if prefix in ids else tuple(sorted(ids))[:limit]

    async def find(self, id: str) -> tuple[Request, ...]:
        """All records of a request or trace in order of their start; empty if there are none."""
        requests = list(self._local.find(id))
        for response in await self._peers.broadcast(FIND_REQUESTS, pb.IdQuery(id=id)):
            requests += _parse(response.requests_json)
        return tuple(sorted(requests, key=lambda request: request.time))

    async def tap(self, tap: TapFilter, cursor: Mapping[str, int], limit: int) -> RequestPage:
        """Requests after `cursor`, oldest first. An empty cursor returns no requests, only where to start."""
        pages = [self._page_after(tap, cursor, limit)]
        query = pb.TapCursor(filter=pb.TapFilter(**tap.model_dump()), sequences=cursor, limit=limit)
        for response in await self._peers.broadcast(TAP_REQUESTS, query):
            page = RequestPage(
                requests=_parse(response.requests_json),
                omitted=response.omitted,
                cursor=dict(response.sequences),
            )
            pages.append(page)
        requests = [request for page in pages for request in page.requests]
        requests.sort(key=lambda request: request.time)
        new_cursor = dict(cursor)
        for page in pages:
            new_cursor.update(page.cursor)
        omitted = sum(page.omitted for page in pages) + max(0, len(requests) - limit)
        return RequestPage(requests=tuple(requests[:limit]), omitted=omitted, cursor=new_cursor)

    # --- serving peers --------------------------------------------------------------------------------

    async def _serve_list(self, query: pb.RequestListQuery) -> pb.RequestList:
        limit = _limit(query.limit)
        requests = self._local.recent(limit, service=query.service, errors=query.errors, since=query.since)
        return pb.RequestList(requests_json=_serialize(requests))

    async def _serve_ids(self, query: pb.IdQuery) -> pb.IdList:
        return pb.IdList(ids=self._local.ids_with_prefix(query.id, _limit(query.limit)))

    async def _serve_find(self, query: pb.IdQuery) -> pb.RequestList:
        return pb.RequestList(requests_json=_serialize(self._local.find(query.id)))

    async def _serve_tap(self, query: pb.TapCursor) -> pb.TapPage:
        filter = query.filter
        try:
            tap = TapFilter(
                service=filter.service,
                errors=filter.errors,
                method=filter.method,
                path=filter.path,
                caller=filter.caller,
            )
        except ValidationError:
            raise InputError("TapRequests: invalid filter") from None
        page = self._page_after(tap, query.sequences, _limit(query.limit))
        return pb.TapPage(
            requests_json=_serialize(page.requests), omitted=page.omitted, sequences=page.cursor
        )

    def _page_after(self, tap: TapFilter, cursor: Mapping[str, int], limit: int) -> RequestPage:
        """This control plane's own page."""
        id = self._peers.id
        if id not in cursor:
            return RequestPage(cursor={id: self._local.last_seq})
        requests, omitted, last_seq = self._local.after(cursor[id], tap, limit)
        return RequestPage(requests=requests, omitted=omitted, cursor={id: last_seq})


def _limit(limit: int) -> int:
    if limit > MAX_REQUESTS:
        raise InputError(f"the limit is above {MAX_REQUESTS}")
    return limit


def _serialize(requests: Iterable[Request]) -> list[bytes]:
    return [request.model_dump_json(by_alias=True).encode() for request in requests]


def _parse(requests_json: Iterable[bytes]) -> tuple[Request, ...]:
    """The requests of a response; none if one of them is invalid."""
    try:
        return tuple(Request.model_validate_json(body) for body in requests_json)
    except ValidationError:
        return ()
