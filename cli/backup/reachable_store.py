"""The store of a mesh whether the mesh runs or not: the embedded one is started for a while."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from meshwright.control_plane.config import Settings
from meshwright.control_plane.store import embedded
from meshwright.control_plane.store.locate import store_address


@asynccontextmanager
async def reachable_store(settings: Settings) -> AsyncIterator[tuple[str, str]]:
    """URL and password of the store, which replies. Raises StoreError.

    The caller holds the lock of the state directory, or the mesh runs.
    """
    if settings.redis_url or embedded.is_running(embedded.locate(settings.state)):
        yield store_address(settings)
        return
    valkey = embedded.prepare(settings.state)
    process = await asyncio.create_subprocess_exec(
        *valkey.argv, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True
    )
    try:
        await embedded.wait_ready(valkey)
        yield valkey.url, valkey.password()
    finally:
        process.terminate()
        await process.wait()
