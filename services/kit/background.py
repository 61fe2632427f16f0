"""Work beside requests: a loop that survives failures, for as long as the service runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import structlog

log = structlog.get_logger()


@asynccontextmanager
async def background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `work` in the background until the end of the context."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def repeat(name: str, seconds: float, job: Callable[[], Awaitable[bool]]) -> None:
    """Run `job` again and again until cancelled: at once when it returned True, else after `seconds`.

    A failure is logged when it begins and when it ends, and the job runs again after `seconds`.
    """
    is_failing = False
    while True:
        try:
            more = await job()
        except Exception as error:  # whatever a job raises, the next run may succeed
            if not is_failing:
                log.error("background job failed", job=name, error=type(error).__name__, exc_info=True)
            more, is_failing = False, True
        else:
            if is_failing:
                log.info("background job works again", job=name)
            is_failing = False
        await asyncio.sleep(0 if more else seconds)
