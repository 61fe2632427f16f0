"""Route of events: the newest as JSON, or new ones as server-sent events."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from pydantic import Field

from meshwright.control_plane.admin.protocols import Clock
from meshwright.control_plane.admin.route import NoBody, RequestParams, Route
from meshwright.control_plane.api.models.events import Event, EventId, EventKind, EventList
from meshwright.control_plane.errors import InputError

EVENTS_LIMIT = 1000
"""Events in one response."""

KEEPALIVE = 15.0
"""Seconds without an event after which a comment is sent: intermediaries close idle connections."""

RECONNECT_MS = 1000
"""Milliseconds that a browser should wait before it reconnects."""

_ID = re.compile(r"[0-9]{1,15}-[0-9]{1,15}")


class EventParams(RequestParams):
    limit: int = Field(
        50, ge=1, le=EVENTS_LIMIT, description="Maximum number of events; ignored by a stream."
    )
    before: EventId | None = Field(None, description="Only events older than this one; ignored by a stream.")
    kind: EventKind | None = Field(None, description="Only events of this kind.")


class EventLog(Protocol):
    """The events in the store. Both methods raise StoreError if the store is unavailable."""

    async def newest(self, limit: int, before: str, kind: str) -> Sequence[Event]:
        """Up to `limit` events, newest first; if given, only older than an id, or of one kind."""

    def follow(self, after: str) -> AsyncIterator[Event | None]:
        """New events after an id (empty: from now on); None after a second without one."""


class EventsRouter:
    """`/events`."""

    def __init__(self, events: EventLog, *, monotonic: Clock) -> None:
        self._events = events
        self._monotonic = monotonic

    def routes(self) -> tuple[Route, ...]:
        """Its routes."""
        return (
            Route(
                "GET", "/events", "events", "Events, newest first", self.events, EventList,
                params=EventParams, errors=(503,), stream=self.stream, read_only=True,
            ),
        )  # fmt: skip

    async def events(self, params: EventParams, _body: NoBody) -> EventList:
        """Events, newest first. With `Accept: text/event-stream`: new events as they happen.

        A stream starts after the event in the header Last-Event-ID; without it, now.
        """
        events = await self._events.newest(params.limit, params.before or "", params.kind or "")
        return EventList(events=tuple(events))

    async def stream(self, params: EventParams, last_event_id: str) -> AsyncIterator[str]:
        """The text of an event stream; raises InputError for a malformed `last_event_id`."""
        if last_event_id and not _ID.fullmatch(last_event_id):
            raise InputError("Last-Event-ID: not an event's id: omit the header, or send the id of an event")
        last_sent = self._monotonic()
        first = True
        async for event in self._events.follow(last_event_id):
            now = self._monotonic()
            if first:
                first = False
                yield f"retry: {RECONNECT_MS}\n\n"
            if event is not None and params.kind in (None, event.kind):
                last_sent = now
                yield sse_text(event)
            elif now - last_sent >= KEEPALIVE:
                last_sent = now
                yield ": nothing new\n\n"
            elif event is None:
                yield ""


def sse_text(event: Event) -> str:
    """An event in the format of server-sent events; JSON contains no line breaks."""
    return f"id: {event.id}\nevent: {event.kind}\ndata: {event.model_dump_json()}\n\n"
