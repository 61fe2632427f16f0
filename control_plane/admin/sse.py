"""Responses as server-sent events, until the caller disconnects or the server stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import cast

from aiohttp import web

from meshwright.control_plane.errors import StoreError

MEDIA_TYPE = "text/event-stream"

WRITE_TIMEOUT = 10.0
"""Seconds that a caller may take to read one block; a slower one is disconnected."""


class SseStreams:
    """The open event streams, so that they end when the server stops."""

    def __init__(self) -> None:
        self._open: set[asyncio.Task[object]] = set()
        self._closing = False

    async def close_all(self, _application: web.Application) -> None:
        """End all streams."""
        self._closing = True
        for task in self._open:
            task.cancel()

    async def send(self, request: web.Request, blocks: AsyncIterator[str]) -> web.StreamResponse:
        """Send blocks of text as they arrive; an error before the first one is raised."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  aiohttp runs every handler in a task
        response = web.StreamResponse(headers={"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store"})
        self._open.add(task)
        try:
            async with aclosing(cast("AsyncGenerator[str, None]", blocks)):
                await _copy(blocks, request, response)
        except (ConnectionError, TimeoutError):
            pass
        except StoreError:
            if not response.prepared:
                raise
        except asyncio.CancelledError:
            if not self._closing:
                raise
        finally:
            self._open.discard(task)
        return response


def accepts_event_stream(request: web.Request) -> bool:
    """Whether the Accept header contains text/event-stream."""
    media_types = request.headers.get("Accept", "").lower().split(",")
    return MEDIA_TYPE in {media_type.partition(";")[0].strip() for media_type in media_types}


async def _copy(blocks: AsyncIterator[str], request: web.Request, response: web.StreamResponse) -> None:
    async for block in blocks:
        if not response.prepared:
            await response.prepare(request)
        if request.transport is None or request.transport.is_closing():
            return
        if block:
            async with asyncio.timeout(WRITE_TIMEOUT):
                await response.write(block.encode())
