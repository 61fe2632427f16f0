"""What came here of late, as it was read: kept for other control planes while any of them asks. Pure.

It is kept in the first minute too: whoever is there finds it, and asks.

Each entry has a number, so that one who asks again gets what came since. Only what sidecars told here is
noted, never what was handed on by another: nothing goes round.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

LIFE = 60.0
"""Seconds that an entry is kept: a peer that is away for longer has missed some."""

WANTED = 60.0
"""Seconds after the last question for which there is somebody to keep entries for."""

ENTRIES = 10_000
"""Entries kept at most, some 4 kB each: what a hundred sidecars tell in a minute, and some."""

What = TypeVar("What")


class Entry(NamedTuple, Generic[What]):
    """`came` by the clock of the fold."""

    number: int
    came: float
    what: What


class Journal(Generic[What]):
    """The entries, oldest first. `now` is the clock of the fold."""

    def __init__(self) -> None:
        self._entries: deque[Entry[What]] = deque()
        self._asked: float | None = None
        self.last = 0

    def note(self, what: What, now: float) -> None:
        """Keep it, if anybody asks."""
        if self._asked is None:
            self._asked = now
        if now - self._asked >= WANTED:
            self._entries.clear()
            return
        self.last += 1
        self._entries.append(Entry(self.last, now, what))
        while len(self._entries) > ENTRIES or now - self._entries[0].came >= LIFE:
            self._entries.popleft()

    def since(self, number: int, now: float) -> Sequence[Entry[What]]:
        """What came after the entry of this number, and is still kept."""
        self._asked = now
        newer = min(self.last - number, len(self._entries))
        return [self._entries[at] for at in range(len(self._entries) - newer, len(self._entries))]
