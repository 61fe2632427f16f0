"""A clock that moves only when a test says so."""

from __future__ import annotations

import asyncio


class FakeClock:
    """Seconds since any start. Call it for the time; `sleep` advances it and yields to the event loop."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass; a negative number sets the clock back."""
        self.now += seconds

    async def sleep(self, seconds: float) -> None:
        """Stands in for asyncio.sleep."""
        self.advance(seconds)
        await asyncio.sleep(0)
