"""How long the event loop is held by one callback."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

TICK = 0.002


@dataclass
class LoopLag:
    """The longest time between two ticks, in seconds: of CPU that the loop's thread used, and of wall time.

    CPU time leaves out what other processes of a busy machine do in between.
    """

    cpu: float = 0.0
    wall: float = 0.0

    def __str__(self) -> str:
        return f"{1000 * self.cpu:.1f} ms of CPU, {1000 * self.wall:.1f} ms of wall time"

    async def watch(self) -> None:
        """Tick until cancelled."""
        while True:
            wall, cpu = time.perf_counter(), time.thread_time()
            await asyncio.sleep(TICK)
            self.wall = max(self.wall, time.perf_counter() - wall - TICK)
            self.cpu = max(self.cpu, time.thread_time() - cpu)


@asynccontextmanager
async def measured_lag() -> AsyncIterator[LoopLag]:
    """Measure the lag of the running loop until the block ends.

    Objects of other tests are frozen, as the control plane freezes its own: a full garbage collection of a
    large test run would hold the loop for longer than what is measured.
    """
    gc.collect()
    gc.freeze()
    lag = LoopLag()
    watcher = asyncio.create_task(lag.watch())
    await asyncio.sleep(0)
    try:
        yield lag
    finally:
        # One more tick, so that a hold at the very end of the block is seen.
        await asyncio.sleep(2 * TICK)
        watcher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watcher
        gc.unfreeze()
