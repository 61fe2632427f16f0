"""Background tasks of a sidecar, kept until they end; failures are logged and reported."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

SpawnTask = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]
"""Starts a task and keeps a reference to it while it runs."""


class TaskSet:
    """A set of running tasks. Calls `on_failure` with the error of a task that failed."""

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

    async def cancel_all(self) -> None:
        """Cancel the tasks and wait for their end."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("sidecar task failed", exc_info=error)
            self._on_failure(f"{type(error).__name__}: {error}")
