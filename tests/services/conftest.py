"""The shop without a mesh: real processes, real databases, and a forward proxy in place of sidecars."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from redis.asyncio import Redis

from meshwright.services.events.broker import connect
from tests.services.forward_proxy import running_forward_proxy
from tests.services.processes import TIMEOUT, Broker, Shop


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """Nothing runs at first. Services that the test starts are stopped at its end."""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT)
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        running_forward_proxy() as proxy,
        aiohttp.ClientSession(timeout=timeout, connector=connector) as session,
    ):
        shop = Shop(tmp_path, proxy, session)
        try:
            yield shop
        finally:
            for hold in proxy.holds:
                hold.release.set()
            await shop.close()


@pytest.fixture
async def broker(shop: Shop) -> AsyncIterator[Broker]:
    """A broker that runs."""
    async with contextlib.aclosing(Broker(shop.folder)) as broker:
        await broker.start()
        yield broker


@pytest.fixture
async def redis(broker: Broker) -> AsyncIterator[Redis]:
    client = connect(broker.url)
    try:
        yield client
    finally:
        await client.aclose()
