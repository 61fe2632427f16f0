"""What came here of late, as it was read: kept for other control planes while any of them asks. Pure.

It is kept in the first minute too: whoever is there finds it, and asks.

Each entry has a number, so that one who asks again gets what came since. Only what sidecars told here is
noted, never what was handed on by another: nothing goes round.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

ENTRY_TTL = 60.0
"""Seconds that an entry is kept: a peer that is away for longer has missed some."""

READER_TTL = 60.0
"""Seconds after the last question for which there is somebody to keep entries for."""

MAX_ENTRIES = 10_000
"""Entries kept at most, some 4 kB each: what a hundred sidecars tell in a minute, and some."""

Item = TypeVar("Item")


class ReplicationEntry(NamedTuple, Generic[Item]):
    """`came` by the clock of the fold."""

    sequence: int
    received_at: float
    item: Item


class ReplicationLog(Generic[Item]):
    """The entries, oldest first. `now` is the clock of the fold."""

    def __init__(self) -> None:
        self._entries: deque[ReplicationEntry[Item]] = deque()
        self._read_at: float | None = None
        self.last_sequence = 0

    def append(self, what: Item, now: float) -> None:
        """Keep it, if anybody asks."""
        if self._read_at is None:
            self._read_at = now
        if now - self._read_at >= READER_TTL:
            self._entries.clear()
            return
        self.last_sequence += 1
        self._entries.append(ReplicationEntry(self.last_sequence, now, what))
        while len(self._entries) > MAX_ENTRIES or now - self._entries[0].received_at >= ENTRY_TTL:
            self._entries.popleft()

    def since(self, number: int, now: float) -> Sequence[ReplicationEntry[Item]]:
        """What came after the entry of this number, and is still kept."""
        self._read_at = now
        newer = min(self.last_sequence - number, len(self._entries))
        return [self._entries[at] for at in range(len(self._entries) - newer, len(self._entries))]
