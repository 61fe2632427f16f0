"""Who listens to events: one reader of the store's stream for all of them, and only while there are any.

A listener that does not keep up is sent away; it comes back with the last id it had and gets the rest from
the store.
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
"""Streams at a time."""

MAX_BACKLOG = 1000
"""Events that may wait for one listener."""

HEARTBEAT_INTERVAL = 1.0
"""Seconds after which a listener for whom there is nothing is given None, to see who is still there."""

RETRY_DELAY = 0.5
"""Seconds until a failed read of the store is tried again."""

log = structlog.get_logger(__name__)


class TooManySubscribersError(OverloadedError):
    """No further stream can be opened now."""


class _Subscriber:
    """What waits for one stream."""

    def __init__(self, seen: str) -> None:
        self.waiting: deque[Event] = deque()
        self.seen = event_sort_key(seen)
        self.lost = False
        self.woken = asyncio.Event()

    def put(self, events: tuple[Event, ...]) -> None:
        fresh = [one for one in events if event_sort_key(one.id) > self.seen]
        if len(self.waiting) + len(fresh) > MAX_BACKLOG:
            self.lost = True
        elif fresh:
            self.seen = event_sort_key(fresh[-1].id)
            self.waiting.extend(fresh)
        self.woken.set()


class EventSubscriptions:
    """Events as they are written."""

    def __init__(self, store: EventStream) -> None:
        self._store = store
        self._listeners: set[_Subscriber] = set()
        self._reader: asyncio.Task[None] | None = None
        self._read = ""

    async def newest(self, limit: int, before: str, kind: str) -> tuple[Event, ...]:
        """See store.events.Events.newest; raises StoreError."""
        return await self._store.newest(limit, before, kind)

    async def follow(self, after: str) -> AsyncIterator[Event | None]:
        """Events newer than the id `after` (empty: from now on), for ever; None about every second.

        Ends when the listener does not keep up. Raises TooManyListeners, and StoreError before the first.
        """
        if len(self._listeners) >= MAX_SUBSCRIBERS:
            raise TooManySubscribersError(f"{MAX_SUBSCRIBERS} event streams are open already: close one")
        listener = _Subscriber(after or "0-0")
        self._listeners.add(listener)
        metrics.SUBSCRIBERS.inc()
        try:
            seen = after or await self._store.last_id()
            listener.seen = event_sort_key(seen)
            yield None
            missed = await self._store.read_after(seen)
            while missed:
                for event in missed:
                    yield event
                seen = missed[-1].id
                missed = await self._store.read_after(seen)
            listener.seen = event_sort_key(seen)
            self._listen(seen)
            async for one in self._live(listener):
                yield one
        finally:
            metrics.SUBSCRIBERS.dec()
            self._listeners.discard(listener)
            if not self._listeners and self._reader:
                self._reader.cancel()
                self._reader = None

    async def _live(self, listener: _Subscriber) -> AsyncIterator[Event | None]:
        while not listener.lost:
            listener.woken.clear()
            while listener.waiting:
                yield listener.waiting.popleft()
            try:
                async with asyncio.timeout(HEARTBEAT_INTERVAL):
                    await listener.woken.wait()
            except TimeoutError:
                yield None

    def _listen(self, seen: str) -> None:
        """See that somebody reads on from `seen` at the latest."""
        if self._reader is None or self._reader.done():
            self._read = seen
            self._reader = asyncio.create_task(self._tail())
        elif event_sort_key(seen) < event_sort_key(self._read):
            self._read = seen

    async def _tail(self) -> None:
        while True:
            start = self._read
            try:
                found = await self._store.read_after(start, wait=True)
            except StoreError:
                await asyncio.sleep(RETRY_DELAY)
                continue
            if found and self._read == start:
                self._read = found[-1].id
            for listener in self._listeners:
                listener.put(found)
