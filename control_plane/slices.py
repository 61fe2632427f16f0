"""Long computations on the event loop, which let other tasks run in between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from typing import TypeVar

SLICE_SECONDS = 0.002
"""How long a computation may hold the event loop, besides its last step."""

ResultT = TypeVar("ResultT")


async def in_slices(steps: Generator[None, None, ResultT]) -> ResultT:
    """Run steps to the end; other tasks get their turn after every SLICE_SECONDS."""
    started = time.perf_counter()
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: ResultT = end.value
            return result
        if time.perf_counter() - started >= SLICE_SECONDS:
            await asyncio.sleep(0)
            started = time.perf_counter()
