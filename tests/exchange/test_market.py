"""The market: ticks made by trading, sent by gRPC, kept as bars by analytics."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from itertools import pairwise
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from meshwright.services.kit import market
from tests.exchange.processes import Exchange, Running, until
from tests.fakes.ports import free_port

MINUTE = 28_000_000 * 60_000
LOCAL = [("grpc.enable_http_proxy", 0)]


async def send(
    to: Running, symbol: str, price: float, at: int, metadata: tuple[tuple[str, str], ...] = ()
) -> Any:
    """One tick to analytics, as any gRPC client sends it; its answer."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{to.grpc_port}", options=LOCAL) as channel:
        call = channel.unary_unary(
            "/market.MarketDataService/SendMarketData",
            request_serializer=market.MarketDataRequest.SerializeToString,
            response_deserializer=market.MarketDataResponse.FromString,
        )
        request = market.MarketDataRequest(assetSymbol=symbol, price=price, timestamp=at)
        return await call(request, timeout=20, metadata=metadata)


async def refused(to: Running, symbol: str, price: float, at: int) -> tuple[grpc.StatusCode, str]:
    """The status of a tick that is not taken."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await send(to, symbol, price, at)
    return failed.value.code(), failed.value.details() or ""


async def bars(exchange: Exchange, analytics: Running, symbol: str, limit: int = 60) -> list[dict[str, Any]]:
    """The bars of a symbol; none for an unknown one."""
    reply = await exchange.call(analytics, "GET", f"/api/analytics/bars/{symbol}?limit={limit}")
    return list(reply.body["bars"]) if reply.status == 200 else []


async def sent(exchange: Exchange, trading: Running) -> dict[str, float]:
    """What trading counted of its ticks, by gRPC code."""
    async with exchange.session.get(f"{trading.url}/metrics") as response:
        lines = (await response.text()).splitlines()
    texts = [line for line in lines if line.startswith("market_data_sent_total{")]
    return {line.split('"')[1]: float(line.split()[-1]) for line in texts}


async def test_ticks_become_bars_that_survive_a_restart(exchange: Exchange) -> None:
    analytics = await exchange.start("analytics")
    for price, at in ((5.0, 10), (9.0, 20), (2.0, 30), (4.0, 40), (7.0, 60_000)):
        assert (await send(analytics, "BTC", price, MINUTE + at)).success
    expected = [
        {"minute": MINUTE, "open": 5.0, "high": 9.0, "low": 2.0, "close": 4.0},
        {"minute": MINUTE + 60_000, "open": 7.0, "high": 7.0, "low": 7.0, "close": 7.0},
    ]
    assert await bars(exchange, analytics, "BTC") == expected
    assert await bars(exchange, analytics, "BTC", 1) == expected[1:]
    assert await analytics.stop() == 0
    assert await bars(exchange, await exchange.start("analytics"), "BTC") == expected
    again = exchange.running[-1]
    unknown = await exchange.call(again, "GET", "/api/analytics/bars/ETH")
    assert (unknown.status, unknown.code) == (404, "symbol_not_found")
    assert (await exchange.call(again, "GET", "/api/analytics/bars/BTC?limit=0")).code == "invalid"


async def test_replicas_of_analytics_make_one_bar_of_ticks_that_come_at_once(exchange: Exchange) -> None:
    twins = await asyncio.gather(exchange.start("analytics"), exchange.start("analytics"))
    ticks = [(float(price), MINUTE + price) for price in range(1, 41)]
    await asyncio.gather(*(send(twins[n % 2], "BTC", *tick) for n, tick in enumerate(ticks)))
    [bar] = await bars(exchange, twins[0], "BTC")
    assert bar == {"minute": MINUTE, "open": 1.0, "high": 40.0, "low": 1.0, "close": 40.0}


async def test_what_is_no_tick_is_refused_in_words(exchange: Exchange) -> None:
    analytics = await exchange.start("analytics")
    code, words = await refused(analytics, "BTC", -1.0, MINUTE)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert words.startswith("price: ")
    assert (await refused(analytics, "no symbol", 1.0, MINUTE))[0] is grpc.StatusCode.INVALID_ARGUMENT
    too_large, _ = await refused(analytics, "B" * 100_000, 1.0, MINUTE)
    assert too_large is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await bars(exchange, analytics, "BTC") == []


async def test_symbols_and_bars_are_bounded(exchange: Exchange) -> None:
    analytics = await exchange.start("analytics")
    columns = "(symbol, minute, opened, open, high, low, close, closed)"
    with sqlite3.connect(exchange.folder / "data" / "analytics.db") as connection:
        statement = f"INSERT INTO bars {columns} VALUES (?, ?, ?, 1, 1, 1, 1, ?)"  # noqa: S608  a constant
        many = [(f"S{number}", MINUTE, MINUTE, MINUTE) for number in range(999)]
        week = [("BTC", MINUTE + 60_000 * n, MINUTE, MINUTE) for n in range(7 * 24 * 60)]
        connection.executemany(statement, many + week)
    code, words = await refused(analytics, "NEW", 1.0, MINUTE)
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "1000 symbols" in words
    await send(analytics, "BTC", 3.0, MINUTE + 60_000 * 7 * 24 * 60)
    with sqlite3.connect(exchange.folder / "data" / "analytics.db") as connection:
        [row] = connection.execute("SELECT count(*), min(minute) FROM bars WHERE symbol = 'BTC'").fetchall()
    assert row == (7 * 24 * 60, MINUTE + 60_000)


async def test_analytics_has_the_standard_health_service(exchange: Exchange) -> None:
    analytics = await exchange.start("analytics")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{analytics.grpc_port}", options=LOCAL) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        for service in ("", "market.MarketDataService"):
            response = await check(health_pb2.HealthCheckRequest(service=service), timeout=20)
            assert response.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_database_that_fails_is_a_status_and_the_log_has_the_trace(exchange: Exchange) -> None:
    analytics = await exchange.start("analytics")
    with sqlite3.connect(exchange.folder / "data" / "analytics.db") as connection:
        connection.execute("DROP TABLE bars")
    trace = "0af7651916cd43dd8448eb211c80319c"
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await send(analytics, "BTC", 1.0, MINUTE, (("traceparent", f"00-{trace}-b7ad6b7169203331-01"),))
    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE

    def logged() -> bool:
        return any(
            record["event"] == "database unavailable" and record["trace_id"] == trace
            for record in analytics.records()
        )

    await until(logged)


async def test_trading_walks_by_its_seed_and_tells_analytics(exchange: Exchange) -> None:
    analytics = await exchange.start("analytics")
    options = {"ANALYTICS": f"127.0.0.1:{analytics.grpc_port}", "TICKS_PER_SECOND": "20", "SEED": "7"}
    trading = await exchange.start("trading", **options)
    await until(lambda: bars_of_all(exchange, analytics))
    quote = await exchange.call(trading, "GET", "/api/quotes/ETH")
    assert quote.status == 200
    assert quote.body.keys() == {"symbol", "price", "timestamp"}
    assert abs(quote.body["timestamp"] / 1000 - time.time()) < 30
    assert (await exchange.call(trading, "GET", "/api/quotes/NONE")).code == "symbol_not_found"
    counts = await sent(exchange, trading)
    assert counts["OK"] >= 10
    assert counts.keys() <= {"OK", "DEADLINE_EXCEEDED"}, "none is refused"
    first = walk(exchange, 10)
    assert await trading.stop() == 0
    await exchange.start("trading", DATA_DIR=str(exchange.folder / "other"), **options)
    await until(lambda: len(walk(exchange, 10, "other")) == 10)
    assert walk(exchange, 10, "other") == first


async def bars_of_all(exchange: Exchange, analytics: Running) -> bool:
    """Whether every symbol has bars, after ten ticks each."""
    if len(walk(exchange, 10)) < 10:
        return False
    return all([await bars(exchange, analytics, symbol) for symbol in ("BTC", "ETH", "LTC", "XMR")])


def walk(exchange: Exchange, steps: int, folder: str = "data") -> list[int]:
    """The first prices of a symbol in trading's database."""
    with sqlite3.connect(exchange.folder / folder / "trading.db") as connection:
        query = "SELECT price FROM ticks WHERE symbol = 'BTC' ORDER BY number LIMIT ?"
        return [price for (price,) in connection.execute(query, (steps,))]


async def test_replicas_of_trading_make_one_market(exchange: Exchange) -> None:
    options = {"TICKS_PER_SECOND": "10", "SEED": "7", "ANALYTICS": "127.0.0.1:1"}
    twins = await asyncio.gather(exchange.start("trading", **options), exchange.start("trading", **options))
    await until(lambda: len(walk(exchange, 20)) == 20)
    with sqlite3.connect(exchange.folder / "data" / "trading.db") as connection:
        times = [t for (t,) in connection.execute("SELECT timestamp FROM ticks WHERE symbol = 'BTC'")]
    assert min(b - a for a, b in pairwise(times)) >= 50
    assert [await twin.stop() for twin in twins] == [0, 0]


async def test_trading_lives_on_without_analytics_and_counts_what_is_lost(exchange: Exchange) -> None:
    port = str(free_port())
    analytics = await exchange.start("analytics", PORT_GRPC=port)
    options = {"ANALYTICS": f"127.0.0.1:{port}", "TICKS_PER_SECOND": "10"}
    trading = await exchange.start("trading", **options)
    await until(lambda: arrived(exchange, trading, 0))
    await analytics.kill()

    async def lost() -> bool:
        return (await sent(exchange, trading)).get("UNAVAILABLE", 0) > 4

    await until(lost)
    assert (await exchange.call(trading, "GET", "/api/quotes/BTC")).status == 200
    before = (await sent(exchange, trading))["OK"]
    await exchange.start("analytics", PORT_GRPC=port)
    await until(lambda: arrived(exchange, trading, before))
    lost_then, arrive = "ticks do not arrive at analytics", "ticks arrive at analytics"

    def told() -> list[str]:
        return [record["event"] for record in trading.records() if record["event"] in (lost_then, arrive)]

    await until(lambda: told()[-1:] == [arrive] and lost_then in told())
    assert told()[0] == arrive
    assert all(text != other for text, other in pairwise(told())), "told when it changes, not for every tick"
    assert await trading.stop() == 0


async def arrived(exchange: Exchange, trading: Running, before: float) -> bool:
    """Whether more ticks have arrived than before."""
    return (await sent(exchange, trading)).get("OK", 0) > before


async def test_a_wrong_rate_is_named_at_the_start(exchange: Exchange) -> None:
    with pytest.raises(AssertionError, match="trading: TICKS_PER_SECOND: 'often' does not do"):
        await exchange.start("trading", TICKS_PER_SECOND="often")
    assert exchange.running[-1].process.returncode == 2


async def test_a_taken_grpc_port_is_said(exchange: Exchange) -> None:
    analytics = await exchange.start("analytics")
    with pytest.raises(AssertionError, match="analytics: cannot start: gRPC at"):
        await exchange.start("analytics", PORT_GRPC=str(analytics.grpc_port))
    assert exchange.running[-1].process.returncode == 1
