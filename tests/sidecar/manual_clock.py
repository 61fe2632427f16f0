"""A FakeClock whose `sleep` really waits, until the test advances the clock far enough."""

from __future__ import annotations

import asyncio

from meshwright.sidecar.clock import Clock
from tests.fakes.clock import FakeClock


class ManualClock(FakeClock):
    """`sleepers` is the number of coroutines that wait in `sleep`."""

    def __init__(self) -> None:
        super().__init__()
        self.sleepers = 0
        self._jumped = 0.0
        self._advanced = asyncio.Event()

    @property
    def clock(self) -> Clock:
        """Itself, in the form that the agent's code takes."""
        return Clock(self, self.sleep)

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass and wake the sleepers that are due."""
        super().advance(seconds)
        self._advanced.set()
        self._advanced = asyncio.Event()

    def jump(self, seconds: float) -> None:
        """Set the time of day forth or back, as a suspend does; sleeps go on as if nothing had happened."""
        self.now += seconds
        self._jumped += seconds

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has advanced by `seconds`."""
        deadline = self.now - self._jumped + seconds
        self.sleepers += 1
        try:
            while self.now - self._jumped < deadline:
                await self._advanced.wait()
        finally:
            self.sleepers -= 1
