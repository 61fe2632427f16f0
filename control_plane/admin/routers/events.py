"""Routes of what happened: the newest events as JSON, or all that come as server-sent events."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from pydantic import Field

from meshwright.control_plane.admin.context import AdminContext
from meshwright.control_plane.admin.route import RequestParams, Route
from meshwright.control_plane.api.models.events import Event, EventId, EventKind, EventList
from meshwright.control_plane.errors import InputError

EVENTS_LIMIT = 1000
"""Events one answer may hold."""

KEEPALIVE = 15.0
"""Seconds without an event after which a comment is sent: proxies cut connections that are silent."""

FIRST_WAIT_MS = 1000
"""Milliseconds that a browser is to wait before it connects again."""

_ID = re.compile(r"[0-9]{1,15}-[0-9]{1,15}")


class EventParams(RequestParams):
    limit: int = Field(50, ge=1, le=EVENTS_LIMIT, description="At most so many; no matter to a stream.")
    before: EventId | None = Field(None, description="Only events older than this one; not for a stream.")
    kind: EventKind | None = Field(None, description="Only events of this kind.")


async def events(mesh: AdminContext, params: EventParams, _body: object) -> EventList:
    """What happened, newest first. With `Accept: text/event-stream` events are sent as they come.

    A stream begins with what comes after the id in the header Last-Event-ID, or with what comes from now on.
    """
    found = await mesh.events.newest(params.limit, params.before or "", params.kind or "")
    return EventList(events=tuple(found))


async def stream(mesh: AdminContext, params: EventParams, last: str) -> AsyncIterator[str]:
    """The text of an event stream; raises InputError for a `last` that is no id."""
    if last and not _ID.fullmatch(last):
        raise InputError("Last-Event-ID: no event has such an id: leave it out")
    sent = mesh.now()
    source = mesh.events.follow(last)
    first = True
    async for event in source:
        now = mesh.now()
        if first:
            first = False
            yield f"retry: {FIRST_WAIT_MS}\n\n"
        if event is not None and params.kind in (None, event.kind):
            sent = now
            yield as_text(event)
        elif now - sent >= KEEPALIVE:
            sent = now
            yield ": nothing new\n\n"
        elif event is None:
            yield ""


def as_text(event: Event) -> str:
    """An event as the standard for server-sent events writes it; JSON has no line breaks."""
    return f"id: {event.id}\nevent: {event.kind}\ndata: {event.model_dump_json()}\n\n"


ROUTES = (
    Route(
        "GET", "/events", "events", "What happened, newest first", events, EventList,
        params=EventParams, errors=(503,), stream=stream, read_only=True,
    ),
)  # fmt: skip
