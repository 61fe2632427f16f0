"""A service closes its resources in a limited time."""

from __future__ import annotations

import asyncio

import pytest

from meshwright.services.hosting.resources import open_resources


async def test_resources_are_closed_last_first() -> None:
    closed = []

    async def close(name: str) -> None:
        closed.append(name)

    async with open_resources() as stack:
        stack.push_async_callback(close, "first")
        stack.push_async_callback(close, "second")
    assert closed == ["second", "first"]


async def test_a_resource_that_never_closes_does_not_keep_the_others_open() -> None:
    closed = asyncio.Event()

    async def close() -> None:
        closed.set()

    async with asyncio.timeout(60), open_resources(0.01) as stack:
        stack.push_async_callback(close)
        stack.push_async_callback(asyncio.Event().wait)
    assert closed.is_set()


async def test_resources_that_never_close_do_not_keep_the_process() -> None:
    async def ignore_cancellation() -> None:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    released = asyncio.Event()
    async with asyncio.timeout(60), open_resources(0.01) as stack:
        stack.push_async_callback(ignore_cancellation)
    released.set()


async def test_an_error_while_closing_is_raised() -> None:
    async def fail() -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        async with open_resources() as stack:
            stack.push_async_callback(fail)
