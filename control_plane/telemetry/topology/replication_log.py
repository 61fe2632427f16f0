"""Recent entries received by this control plane, kept for as long as other control planes read them.

Only what sidecars sent to this control plane is appended, never what another control plane sent, so nothing
travels in circles. Entries are numbered; a reader asks for those after the last one it has seen. In the first
minute entries are kept even without a reader, so that one that has just connected finds them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

ENTRY_TTL = 60.0
"""Seconds that an entry is kept; a reader that is away for longer misses entries."""

READER_TTL = 60.0
"""Seconds after the last read for which entries are kept."""

MAX_ENTRIES = 10_000
"""About 4 kB each: more than a hundred sidecars send in a minute."""

Item = TypeVar("Item")


class ReplicationEntry(NamedTuple, Generic[Item]):
    """One item; `received_at` is by the clock of `append`."""

    sequence: int
    received_at: float
    item: Item


class ReplicationLog(Generic[Item]):
    """The entries, oldest first. `now` is the clock of the signal handlers."""

    def __init__(self) -> None:
        self._entries: deque[ReplicationEntry[Item]] = deque()
        self._read_at: float | None = None
        self.last_sequence = 0

    def append(self, item: Item, now: float) -> None:
        """Add an item, unless there is no reader."""
        if self._read_at is None:
            self._read_at = now
        if now - self._read_at >= READER_TTL:
            self._entries.clear()
            return
        self.last_sequence += 1
        self._entries.append(ReplicationEntry(self.last_sequence, now, item))
        while len(self._entries) > MAX_ENTRIES or now - self._entries[0].received_at >= ENTRY_TTL:
            self._entries.popleft()

    def since(self, sequence: int, now: float) -> Sequence[ReplicationEntry[Item]]:
        """The entries after this sequence number that are still there."""
        self._read_at = now
        newer = min(self.last_sequence - sequence, len(self._entries))
        return [self._entries[i] for i in range(len(self._entries) - newer, len(self._entries))]
