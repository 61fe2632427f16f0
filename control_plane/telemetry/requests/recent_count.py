"""A number that is counted over the last hour, to the minute. Pure."""

from __future__ import annotations

REMEMBERED_SECONDS = 3600.0
SLOT_SECONDS = 60.0


class RecentCount:
    """Counts by minute. `now` is any monotonic clock in seconds."""

    __slots__ = ("_slots",)

    def __init__(self) -> None:
        self._slots: dict[int, float] = {}

    def add(self, value: float, now: float) -> None:
        """Count `value` at `now`."""
        if not value:
            return
        slot = int(now // SLOT_SECONDS)
        if slot not in self._slots:
            self.expire(now)
        self._slots[slot] = self._slots.get(slot, 0.0) + value

    def total(self, seconds: float, now: float) -> float:
        """The sum of the last `seconds`, rounded up to minutes."""
        first = int((now - seconds) // SLOT_SECONDS)
        return sum(value for slot, value in self._slots.items() if slot >= first)

    def merge(self, other: RecentCount) -> None:
        """Add what another one has counted."""
        for slot, value in other._slots.items():
            self._slots[slot] = self._slots.get(slot, 0.0) + value

    def expire(self, now: float) -> bool:
        """Forget what is older than an hour; whether something is left."""
        first = int((now - REMEMBERED_SECONDS) // SLOT_SECONDS)
        for slot in [slot for slot in self._slots if slot < first]:
            del self._slots[slot]
        return bool(self._slots)
