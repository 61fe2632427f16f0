"""The shop without a mesh: real processes, real databases, and a forward proxy in place of sidecars."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.services.forward_proxy import running_forward_proxy
from tests.services.processes import TIMEOUT, Shop


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
