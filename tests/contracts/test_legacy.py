"""Legacy needs prices of markets from trading; it answers for dealers' quotes by itself."""

from __future__ import annotations

from typing import Any

import aiohttp

from meshwright.services.legacy.app import SERVICE as LEGACY
from meshwright.services.trading.app import SERVICE as TRADING
from tests.contracts.conftest import Exchange
from tests.services.processes import STAFF, caller, until


async def call(
    session: aiohttp.ClientSession,
    url: str,
    price: int | None = None,
    by: dict[str, str] = STAFF,
) -> tuple[int, Any]:
    """Read a quote, or set it if there is a price; returns the status and the body."""
    method, body = ("GET", None) if price is None else ("PUT", {"price": price})
    async with session.request(method, url, json=body, headers=by) as response:
        return response.status, await response.json()


async def test_prices_of_markets_come_from_trading(
    exchange: Exchange, session: aiohttp.ClientSession
) -> None:
    legacy = await exchange.serve(LEGACY)
    status, body = await call(session, f"{legacy}/api/quotes/BTC")
    assert (status, body["error"]["code"]) == (503, "trading_unavailable")
    trading = await exchange.serve(TRADING, TICKS_PER_SECOND="1", ANALYTICS="127.0.0.1:1")

    async def is_traded() -> bool:
        return (await call(session, f"{trading}/api/quotes/BTC"))[0] == 200

    await until(is_traded)
    status, body = await call(session, f"{legacy}/api/quotes/BTC")
    assert (status, body.keys()) == (200, {"symbol", "price", "timestamp"})
    assert body["price"] > 0
    status, body = await call(session, f"{legacy}/api/quotes/DOGE")
    assert (status, body["error"]["code"]) == (404, "symbol_not_found")


async def test_staff_sets_quotes_that_everybody_reads_while_trading_is_away(
    exchange: Exchange, session: aiohttp.ClientSession
) -> None:
    replicas = [f"{await exchange.serve(LEGACY)}/api/quotes" for _ in range(2)]
    assert (await call(session, f"{replicas[0]}/XAU-USD"))[1]["price"] == 241_500, "a new exchange has some"
    assert (await call(session, f"{replicas[0]}/XAU-USD", 250_000))[0] == 200
    ada = caller("ada", "customer")
    status, body = await call(session, f"{replicas[1]}/XAU-USD", by=ada)
    assert (status, body["price"]) == (200, 250_000)
    assert (await call(session, f"{replicas[0]}/XAU-USD", 1, by=ada))[0] == 403
    assert (await call(session, f"{replicas[0]}/PAX-GBP"))[0] == 404
    assert (await call(session, f"{replicas[0]}/PAX-GBP", 190_000))[0] == 200
    status, body = await call(session, f"{replicas[0]}/BTC", 1)
    assert (status, body["error"]["code"]) == (422, "not_a_pair")
    assert (await call(session, f"{replicas[0]}/PAX-GBP", 0))[0] == 422
