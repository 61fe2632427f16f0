"""Trading needs analytics to take its ticks by gRPC."""

from __future__ import annotations

import asyncio

import aiohttp
from prometheus_client import CollectorRegistry

from meshwright.services.analytics.app import SERVICE as ANALYTICS
from meshwright.services.trading.domain import Tick
from meshwright.services.trading.tick_sender import TickSender
from tests.contracts.conftest import Exchange
from tests.fakes.ports import free_port
from tests.services.processes import STAFF

TICK = Tick("BTC", 1, 6_400_000, 1_700_000_000_000)


async def test_analytics_takes_a_tick_and_has_it_in_a_bar(
    exchange: Exchange, session: aiohttp.ClientSession
) -> None:
    port, registry = free_port(), CollectorRegistry()
    url = await exchange.serve(ANALYTICS, PORT_GRPC=str(port))
    async with TickSender(f"127.0.0.1:{port}", registry) as sender:
        sender.send(TICK)
        await asyncio.gather(*sender._in_flight)
    assert registry.get_sample_value("market_data_sent_total", {"code": "OK"}) == 1
    async with session.get(f"{url}/api/analytics/bars/BTC", headers=STAFF) as response:
        [bar] = (await response.json())["bars"]
    assert bar["close"] == TICK.price
