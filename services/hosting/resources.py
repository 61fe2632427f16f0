"""Closes a service's resources at its end, within a limited time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

log = structlog.get_logger()

CLOSE_TIMEOUT = 5.0
"""Seconds to close all resources. A database whose host has vanished never confirms that a connection is
closed, and the process would live on until its supervisor kills it."""


@asynccontextmanager
async def open_resources(patience: float = CLOSE_TIMEOUT) -> AsyncIterator[AsyncExitStack]:
    """A stack whose resources are closed at the end, last first.

    After `patience` seconds the one that is being closed is cancelled, and the rest have as long again.
    """
    stack = AsyncExitStack()
    try:
        yield stack
    finally:
        closing = asyncio.ensure_future(stack.aclose())
        _, late = await asyncio.wait({closing}, timeout=patience)
        if late:
            log.warning("resources are not closed in time", seconds=patience)
            closing.cancel()
            await asyncio.wait({closing}, timeout=patience)
        elif error := closing.exception():
            raise error
