"""Events on their way to the store: few enough to be kept while it is away. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from meshwright.control_plane.events import metrics
from meshwright.control_plane.store.events import BATCH_LIMIT, EventEntry

CAPACITY = 2000
"""Entries that wait at most: about a megabyte, more than happens while a store is restarted."""


class EventWriteQueue:
    """What waits, in batches that carry a number, so that one may be sent twice and counts once."""

    def __init__(self, limit: int = CAPACITY) -> None:
        self._waiting: deque[EventEntry] = deque()
        self._sending: tuple[EventEntry, ...] = ()
        self._limit = limit
        self._number = 0

    def put(self, entries: Iterable[EventEntry]) -> None:
        """Add what happened; beyond the limit the oldest is dropped and counted."""
        for entry in entries:
            if len(self._waiting) >= self._limit:
                self._waiting.popleft()
                metrics.DROPPED.inc()
            self._waiting.append(entry)
            metrics.EVENTS.labels(entry.event.kind).inc()

    def next_batch(self) -> tuple[int, tuple[EventEntry, ...]]:
        """The number and the entries of what is to be written next: the same until it is `done`."""
        if not self._sending and self._waiting:
            count = min(len(self._waiting), BATCH_LIMIT)
            self._sending = tuple(self._waiting.popleft() for _ in range(count))
            self._number += 1
        return self._number, self._sending

    def mark_written(self) -> None:
        """The batch is written."""
        self._sending = ()
