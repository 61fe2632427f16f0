"""Background tasks of a sidecar, kept until they end; failures are logged and reported.

What has to go on for as long as the sidecar lives (probes, renewals, reports) is started with `keep`: an
error that nobody expected, such as a full disk, then costs a second and not the task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

SpawnTask = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]
"""Starts a task and keeps a reference to it while it runs."""


KeepTask = Callable[[Callable[[], Coroutine[Any, Any, None]]], "asyncio.Task[None]"]
"""Starts work that goes on until it is cancelled, and starts it again after an error."""

RESTART_DELAY = 1.0
"""Seconds between an unexpected error and the next start of the work."""

RECOVERED_AFTER = 5.0
"""Seconds of work without an error after which the last one is no longer reported."""


class TaskSet:
    """A set of running tasks. Calls `on_failure` with the error of a task that failed; empty: no more."""

    def __init__(self, workload: str, on_failure: Callable[[str], None]) -> None:
        self._log = structlog.get_logger(__name__).bind(workload=workload)
        self._on_failure = on_failure
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def keep(self, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        """Start work that is never to end by an error."""
        return self.spawn(self._repeat(work))

    async def _repeat(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        loop = asyncio.get_running_loop()
        recovered: asyncio.TimerHandle | None = None
        while True:
            try:
                return await work()
            except Exception as error:
                if recovered is not None:
                    recovered.cancel()
                self._report(error)
            await asyncio.sleep(RESTART_DELAY)
            recovered = loop.call_later(RECOVERED_AFTER, self._on_failure, "")

    async def cancel_all(self) -> None:
        """Cancel the tasks and wait for their end."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._report(error)

    def _report(self, error: BaseException) -> None:
        self._log.error("sidecar task failed", exc_info=error)
        self._on_failure(f"{type(error).__name__}: {error}")
