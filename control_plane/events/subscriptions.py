"""Event streams of the admin API: one reader of the store's stream for all of them, while there are any.

A subscriber that is too slow is disconnected. It reconnects with the id of the last event that it received
and gets the rest from the store.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

import structlog

from meshwright.control_plane.api.models.events import Event, event_sort_key
from meshwright.control_plane.errors import OverloadedError, StoreError
from meshwright.control_plane.events import metrics
from meshwright.control_plane.store.events import EventStream

MAX_SUBSCRIBERS = 64

MAX_BACKLOG = 1000
"""Events queued for one subscriber."""

HEARTBEAT_INTERVAL = 1.0
"""Seconds after which an idle subscriber gets None, so that a closed connection is noticed."""

RETRY_DELAY = 0.5
"""Seconds until a failed read of the store is repeated."""

log = structlog.get_logger(__name__)


class TooManySubscribersError(OverloadedError):
    """No further stream can be opened now."""


class _Subscriber:
    """The queue of one stream. `last_key`: sort key of the last event that was queued."""

    def __init__(self, after: str) -> None:
        self.queue: deque[Event] = deque()
        self.last_key = event_sort_key(after)
        self.is_too_slow = False
        self.woken = asyncio.Event()

    def put(self, events: tuple[Event, ...]) -> None:
        new = [event for event in events if event_sort_key(event.id) > self.last_key]
        if len(self.queue) + len(new) > MAX_BACKLOG:
            self.is_too_slow = True
        elif new:
            self.last_key = event_sort_key(new[-1].id)
            self.queue.extend(new)
        self.woken.set()


class EventSubscriptions:
    """Reads events, and follows them as they are written."""

    def __init__(self, store: EventStream) -> None:
        self._store = store
        self._subscribers: set[_Subscriber] = set()
        self._reader: asyncio.Task[None] | None = None
        self._position = ""

    async def newest(self, limit: int, before: str, kind: str) -> tuple[Event, ...]:
        """See store.events.EventStream.newest; raises StoreError."""
        return await self._store.newest(limit, before, kind)

    async def follow(self, after: str) -> AsyncIterator[Event | None]:
        """Events after the id `after` (empty: from now on), as they are written; None about once a second.

        Ends if the subscriber is too slow. Raises TooManySubscribersError, and StoreError before the first
        event.
        """
        if len(self._subscribers) >= MAX_SUBSCRIBERS:
            raise TooManySubscribersError(f"{MAX_SUBSCRIBERS} event streams are open already: close one")
        subscriber = _Subscriber(after or "0-0")
        self._subscribers.add(subscriber)
        metrics.SUBSCRIBERS.inc()
        try:
            last_id = after or await self._store.last_id()
            subscriber.last_key = event_sort_key(last_id)
            yield None
            missed = await self._store.read_after(last_id)
            while missed:
                for event in missed:
                    yield event
                last_id = missed[-1].id
                missed = await self._store.read_after(last_id)
            subscriber.last_key = event_sort_key(last_id)
            self._read_from(last_id)
            async for next_event in self._queued(subscriber):
                yield next_event
        finally:
            metrics.SUBSCRIBERS.dec()
            self._subscribers.discard(subscriber)
            if not self._subscribers and self._reader:
                self._reader.cancel()
                self._reader = None

    async def _queued(self, subscriber: _Subscriber) -> AsyncIterator[Event | None]:
        while not subscriber.is_too_slow:
            subscriber.woken.clear()
            while subscriber.queue:
                yield subscriber.queue.popleft()
            try:
                async with asyncio.timeout(HEARTBEAT_INTERVAL):
                    await subscriber.woken.wait()
            except TimeoutError:
                yield None

    def _read_from(self, last_id: str) -> None:
        """Make sure that the reader runs and reads everything after `last_id`."""
        if self._reader is None or self._reader.done():
            self._position = last_id
            self._reader = asyncio.create_task(self._read_loop())
        elif event_sort_key(last_id) < event_sort_key(self._position):
            self._position = last_id

    async def _read_loop(self) -> None:
        while True:
            start = self._position
            try:
                events = await self._store.read_after(start, wait=True)
            except StoreError:
                await asyncio.sleep(RETRY_DELAY)
                continue
            if events and self._position == start:
                self._position = events[-1].id
            for subscriber in self._subscribers:
                subscriber.put(events)
