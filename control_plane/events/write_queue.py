"""Events on their way to the store, limited in number while the store is unavailable. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from meshwright.control_plane.events import metrics
from meshwright.control_plane.store.events import BATCH_LIMIT, EventEntry

CAPACITY = 2000
"""Queued entries: about a megabyte, and more than are added while a store restarts."""


class EventWriteQueue:
    """Queued entries, in numbered batches: a batch that is written twice counts once."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._queued: deque[EventEntry] = deque()
        self._batch: tuple[EventEntry, ...] = ()
        self._capacity = capacity
        self._number = 0

    def put(self, entries: Iterable[EventEntry]) -> None:
        """Add entries; above the capacity the oldest are dropped and counted."""
        for entry in entries:
            if len(self._queued) >= self._capacity:
                self._queued.popleft()
                metrics.DROPPED.inc()
            self._queued.append(entry)
            metrics.EVENTS.labels(entry.event.kind).inc()

    def next_batch(self) -> tuple[int, tuple[EventEntry, ...]]:
        """Number and entries of the next batch: the same until `mark_written`."""
        if not self._batch and self._queued:
            count = min(len(self._queued), BATCH_LIMIT)
            self._batch = tuple(self._queued.popleft() for _ in range(count))
            self._number += 1
        return self._number, self._batch

    def mark_written(self) -> None:
        """The batch is in the store."""
        self._batch = ()
