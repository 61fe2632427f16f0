"""Answers that go on and on: server-sent events, sent until the caller leaves or the server stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import cast

from aiohttp import web

from meshwright.control_plane.errors import StoreError

MEDIA_TYPE = "text/event-stream"

WRITE_LIMIT = 10.0
"""Seconds that a caller may take to make room for one block; a slower one is sent away."""


class SseStreams:
    """The streams that are open, so that they end when the server does."""

    def __init__(self) -> None:
        self._open: set[asyncio.Task[object]] = set()
        self._ending = False

    async def close_all(self, _application: web.Application) -> None:
        """End them all."""
        self._ending = True
        for task in self._open:
            task.cancel()

    async def send(self, request: web.Request, blocks: AsyncIterator[str]) -> web.StreamResponse:
        """Send blocks of text as they come; what fails before the first is raised."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  a request is served in a task
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
            if not self._ending:
                raise
        finally:
            self._open.discard(task)
        return response


def accepts_event_stream(request: web.Request) -> bool:
    """Whether the caller asks for a stream."""
    accepted = request.headers.get("Accept", "").lower().split(",")
    return MEDIA_TYPE in {one.partition(";")[0].strip() for one in accepted}


async def _copy(blocks: AsyncIterator[str], request: web.Request, response: web.StreamResponse) -> None:
    async for block in blocks:
        if not response.prepared:
            await response.prepare(request)
        if request.transport is None or request.transport.is_closing():
            return
        if block:
            async with asyncio.timeout(WRITE_LIMIT):
                await response.write(block.encode())
