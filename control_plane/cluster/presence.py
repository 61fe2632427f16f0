"""Notices that this control plane was away: it was stopped, killed, or suspended with its machine.

While it is away nobody notices, so it leaves a trace in the store every two seconds, by its address, and
looks at its last one when it comes back. Times are by the store's clock, which may be set while a process
runs: how long that process was away it knows by its own clock, which counts on while the machine sleeps.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Protocol

from meshwright.control_plane.api.models.status import ControlPlaneAbsence
from meshwright.control_plane.errors import StoreError

TRACE_INTERVAL = 2.0
"""Seconds between two traces, so the beginning of an absence is known to two seconds."""

LONGEST_PAUSE = 6.0
"""Seconds between two traces of one process that are no absence: three times the interval, as with leases."""

SHOWN_FOR = 3600.0
"""Seconds for which the status shows an absence. Events keep it longer."""


def seconds_since_boot() -> float:
    """A clock that nobody sets, and that counts while the machine sleeps where the system has such a one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class PresenceStore(Protocol):
    """The traces in the store."""

    async def record_presence(self, address: str) -> tuple[float, float]:
        """Leave a trace; returns the time of the one before (0: none), and now. Raises StoreError."""


class Presence:
    """One control plane's traces. `on_return` is called with the address after an absence."""

    def __init__(
        self,
        store: PresenceStore,
        on_return: Callable[[str, ControlPlaneAbsence], None],
        clock: Callable[[], float] = seconds_since_boot,
    ) -> None:
        self._store = store
        self._on_return = on_return
        self._clock = clock
        self._recorded_at: float | None = None
        """By `clock`: when this process left its last trace."""
        self._returned_at = 0.0
        self._ignored_pause = 0.0
        """Seconds between two traces that are no absence: any, when the process has just started, is one."""
        self._last: ControlPlaneAbsence | None = None

    def recent_absence(self) -> ControlPlaneAbsence | None:
        """The last absence, if it was within the last hour."""
        last = self._last
        return last if last is not None and self._clock() - self._returned_at < SHOWN_FOR else None

    async def run(self, address: str) -> None:
        """Leave traces until cancelled."""
        while True:
            await self.record(address)
            await asyncio.sleep(TRACE_INTERVAL)

    async def record(self, address: str) -> None:
        """Leave a trace. A pause in which a running process could not reach the store is no absence."""
        try:
            before, now = await self._store.record_presence(address)
        except StoreError:
            if self._ignored_pause:
                self._ignored_pause = math.inf
            return
        ignored, self._ignored_pause = self._ignored_pause, LONGEST_PAUSE
        last, self._recorded_at = self._recorded_at, self._clock()
        pause = now - before if last is None else self._recorded_at - last
        if before and pause > ignored:
            self._returned_at = self._recorded_at
            self._last = ControlPlaneAbsence(since=now - pause, until=now)
            self._on_return(address, self._last)
