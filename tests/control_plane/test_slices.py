"""A long computation on the event loop lets other tasks run."""

from __future__ import annotations

import asyncio
from collections.abc import Generator

from meshwright.control_plane.slices import in_slices


async def test_other_tasks_run_during_a_computation() -> None:
    others = asyncio.Event()

    def steps() -> Generator[None, None, str]:
        while not others.is_set():
            yield
        return "done"

    async def other() -> None:
        others.set()

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(other())
        assert await in_slices(steps()) == "done"
