"""An exchange without a mesh: real processes, real databases, a forwarding proxy in place of sidecars."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.exchange.processes import PATIENCE, Exchange
from tests.exchange.proxy import forward_proxy


@pytest.fixture
async def exchange(tmp_path: Path) -> AsyncIterator[Exchange]:
    """Nothing runs yet; what the test starts is stopped at its end."""
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        forward_proxy() as proxy,
        aiohttp.ClientSession(timeout=timeout, connector=connector) as session,
    ):
        new_exchange = Exchange(tmp_path, proxy, session)
        try:
            yield new_exchange
        finally:
            for hold in proxy.holds:
                hold.release.set()
            await new_exchange.close()
