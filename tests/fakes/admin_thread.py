"""A fake admin API in a thread with its own event loop, for tests that block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fakes.admin_server import FakeMesh, fake_mesh


@contextmanager
def running_fake_mesh(state: Path) -> Iterator[FakeMesh]:
    """A fake mesh that runs until the context ends; its mesh.json is in `state`."""
    loop = asyncio.new_event_loop()
    ready, stop = threading.Event(), asyncio.Event()
    meshes: list[FakeMesh] = []

    async def serve() -> None:
        async with fake_mesh(state) as mesh:
            meshes.append(mesh)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(60)
        yield meshes[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(60)
        loop.close()
