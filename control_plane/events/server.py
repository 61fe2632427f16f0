"""Who listens to events: one reader of the store's stream for all of them, and only while there are any.

A listener that does not keep up is sent away; it comes back with the last id it had and gets the rest from
the store.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

import structlog

from control_plane.api.happened import Event, order
from control_plane.errors import BusyError, StoreError
from control_plane.events import metrics
from control_plane.store.events import Events

LISTENERS_LIMIT = 64
"""Streams at a time."""

BACKLOG = 1000
"""Events that may wait for one listener."""

BEAT = 1.0
"""Seconds after which a listener for whom there is nothing is given None, to see who is still there."""

RETRY_EVERY = 0.5
"""Seconds until a failed read of the store is tried again."""

log = structlog.get_logger(__name__)


class TooManyListeners(BusyError):
    """No further stream can be opened now."""


class _Listener:
    """What waits for one stream."""

    def __init__(self, seen: str) -> None:
        self.waiting: deque[Event] = deque()
        self.seen = order(seen)
        self.lost = False
        self.woken = asyncio.Event()

    def put(self, events: tuple[Event, ...]) -> None:
        fresh = [one for one in events if order(one.id) > self.seen]
        if len(self.waiting) + len(fresh) > BACKLOG:
            self.lost = True
        elif fresh:
            self.seen = order(fresh[-1].id)
            self.waiting.extend(fresh)
        self.woken.set()


class Live:
    """Events as they are written."""

    def __init__(self, store: Events) -> None:
        self._store = store
        self._listeners: set[_Listener] = set()
        self._reader: asyncio.Task[None] | None = None
        self._read = ""

    async def newest(self, limit: int, before: str, kind: str) -> tuple[Event, ...]:
        """See store.events.Events.newest; raises StoreError."""
        return await self._store.newest(limit, before, kind)

    async def follow(self, after: str) -> AsyncIterator[Event | None]:
        """Events newer than the id `after` (empty: from now on), for ever; None about every second.

        Ends when the listener does not keep up. Raises TooManyListeners, and StoreError before the first.
        """
        if len(self._listeners) >= LISTENERS_LIMIT:
            raise TooManyListeners(f"{LISTENERS_LIMIT} event streams are open already: close one")
        listener = _Listener(after or "0-0")
        self._listeners.add(listener)
        metrics.LISTENERS.inc()
        try:
            seen = after or await self._store.last()
            listener.seen = order(seen)
            yield None
            missed = await self._store.after(seen)
            while missed:
                for event in missed:
                    yield event
                seen = missed[-1].id
                missed = await self._store.after(seen)
            listener.seen = order(seen)
            self._listen(seen)
            async for one in self._live(listener):
                yield one
        finally:
            metrics.LISTENERS.dec()
            self._listeners.discard(listener)
            if not self._listeners and self._reader:
                self._reader.cancel()
                self._reader = None

    async def _live(self, listener: _Listener) -> AsyncIterator[Event | None]:
        while not listener.lost:
            listener.woken.clear()
            while listener.waiting:
                yield listener.waiting.popleft()
            try:
                async with asyncio.timeout(BEAT):
                    await listener.woken.wait()
            except TimeoutError:
                yield None

    def _listen(self, seen: str) -> None:
        """See that somebody reads on from `seen` at the latest."""
        if self._reader is None or self._reader.done():
            self._read = seen
            self._reader = asyncio.create_task(self._tail())
        elif order(seen) < order(self._read):
            self._read = seen

    async def _tail(self) -> None:
        while True:
            start = self._read
            try:
                found = await self._store.after(start, wait=True)
            except StoreError:
                await asyncio.sleep(RETRY_EVERY)
                continue
            if found and self._read == start:
                self._read = found[-1].id
            for listener in self._listeners:
                listener.put(found)
