"""The market: trading generates ticks and sends them by gRPC, analytics turns them into bars."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from itertools import pairwise
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from meshwright.services.rpc import market
from tests.fakes.ports import free_port
from tests.services.processes import TIMEOUT, ServiceProcess, Shop, until

MINUTE = 28_000_000 * 60_000
NO_PROXY = [("grpc.enable_http_proxy", 0)]


def sender(channel: grpc.aio.Channel) -> Any:
    """Sends ticks on a channel."""
    return channel.unary_unary(
        "/market.MarketDataService/SendMarketData",
        request_serializer=market.MarketDataRequest.SerializeToString,
        response_deserializer=market.MarketDataResponse.FromString,
    )


async def send_tick(
    analytics: ServiceProcess,
    symbol: str,
    price: float,
    timestamp: int,
    metadata: tuple[tuple[str, str], ...] = (),
) -> Any:
    """Send one tick to analytics; returns the response."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{analytics.grpc_port}", options=NO_PROXY) as channel:
        request = market.MarketDataRequest(assetSymbol=symbol, price=price, timestamp=timestamp)
        return await sender(channel)(request, timeout=20, metadata=metadata)


async def rejection(
    analytics: ServiceProcess, symbol: str, price: float, timestamp: int
) -> tuple[grpc.StatusCode, str]:
    """The status and message for a tick that is rejected."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await send_tick(analytics, symbol, price, timestamp)
    return error.value.code(), error.value.details() or ""


async def bars(shop: Shop, analytics: ServiceProcess, symbol: str, limit: int = 60) -> list[dict[str, Any]]:
    """The bars of a symbol; none for an unknown one."""
    response = await shop.call(analytics, "GET", f"/api/analytics/bars/{symbol}?limit={limit}")
    return list(response.body["bars"]) if response.status == 200 else []


async def sent_ticks(shop: Shop, trading: ServiceProcess) -> dict[str, float]:
    """Trading's counts of sent ticks by gRPC code."""
    async with shop.session.get(f"{trading.url}/metrics") as response:
        lines = (await response.text()).splitlines()
    samples = [line for line in lines if line.startswith("market_data_sent_total{")]
    return {sample.split('"')[1]: float(sample.split()[-1]) for sample in samples}


async def test_ticks_become_bars_that_survive_a_restart(shop: Shop) -> None:
    analytics = await shop.start("analytics")
    for price, offset in ((5.0, 10), (9.0, 20), (2.0, 30), (4.0, 40), (7.0, 60_000)):
        assert (await send_tick(analytics, "BTC", price, MINUTE + offset)).success
    expected = [
        {"minute": MINUTE, "open": 5.0, "high": 9.0, "low": 2.0, "close": 4.0},
        {"minute": MINUTE + 60_000, "open": 7.0, "high": 7.0, "low": 7.0, "close": 7.0},
    ]
    assert await bars(shop, analytics, "BTC") == expected
    assert await bars(shop, analytics, "BTC", 1) == expected[1:]
    assert await analytics.stop() == 0
    restarted = await shop.start("analytics")
    assert await bars(shop, restarted, "BTC") == expected
    unknown = await shop.call(restarted, "GET", "/api/analytics/bars/ETH")
    assert (unknown.status, unknown.code) == (404, "symbol_not_found")
    assert (await shop.call(restarted, "GET", "/api/analytics/bars/BTC?limit=0")).code == "invalid"


async def test_ten_thousand_ticks_at_two_replicas_make_the_bars_of_a_reference(shop: Shop) -> None:
    """In any order, many at once, some of them twice."""
    rng = random.Random(7)  # noqa: S311  reproducible, not secret
    replicas = await asyncio.gather(shop.start("analytics"), shop.start("analytics"))
    ticks = [
        (rng.choice(("BTC", "ETH", "SOL")), float(rng.randint(1, 10**6)), MINUTE + rng.randrange(5 * 60_000))
        for _ in range(10_000)
    ]

    async def send(replica: ServiceProcess, sent: list[tuple[str, float, int]]) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{replica.grpc_port}", options=NO_PROXY) as channel:
            call, waiting = sender(channel), iter(sent)

            async def work() -> None:
                for symbol, price, timestamp in waiting:
                    request = market.MarketDataRequest(assetSymbol=symbol, price=price, timestamp=timestamp)
                    assert (await call(request, timeout=TIMEOUT)).success

            await asyncio.gather(*(work() for _ in range(100)))

    await asyncio.gather(*(send(replicas[n], [*ticks, *ticks[:100]][n::2]) for n in range(2)))
    for symbol in ("BTC", "ETH", "SOL"):
        expected = []
        for start in range(MINUTE, MINUTE + 5 * 60_000, 60_000):
            minute = sorted(
                (at, price) for of, price, at in ticks if of == symbol and 0 <= at - start < 60_000
            )
            prices = [price for _, price in minute]
            expected.append(
                {
                    "minute": start,
                    "open": prices[0],
                    "high": max(prices),
                    "low": min(prices),
                    "close": prices[-1],
                }
            )
        assert await bars(shop, replicas[0], symbol) == expected


async def test_invalid_ticks_are_rejected_with_a_reason(shop: Shop) -> None:
    analytics = await shop.start("analytics")
    code, message = await rejection(analytics, "BTC", -1.0, MINUTE)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert message.startswith("price: ")
    assert (await rejection(analytics, "no symbol", 1.0, MINUTE))[0] is grpc.StatusCode.INVALID_ARGUMENT
    too_large, _ = await rejection(analytics, "B" * 100_000, 1.0, MINUTE)
    assert too_large is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await bars(shop, analytics, "BTC") == []


async def test_symbols_and_bars_are_bounded(shop: Shop) -> None:
    analytics = await shop.start("analytics")
    columns = "(symbol, minute, opened, open, high, low, close, closed)"
    with sqlite3.connect(shop.folder / "data" / "analytics.db") as connection:
        statement = f"INSERT INTO bars {columns} VALUES (?, ?, ?, 1, 1, 1, 1, ?)"  # noqa: S608  a constant
        symbols = [(f"S{number}", MINUTE, MINUTE, MINUTE) for number in range(999)]
        week = [("BTC", MINUTE + 60_000 * n, MINUTE, MINUTE) for n in range(7 * 24 * 60)]
        connection.executemany(statement, symbols + week)
    code, message = await rejection(analytics, "NEW", 1.0, MINUTE)
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "1000 symbols" in message
    await send_tick(analytics, "BTC", 3.0, MINUTE + 60_000 * 7 * 24 * 60)
    with sqlite3.connect(shop.folder / "data" / "analytics.db") as connection:
        [row] = connection.execute("SELECT count(*), min(minute) FROM bars WHERE symbol = 'BTC'").fetchall()
    assert row == (7 * 24 * 60, MINUTE + 60_000)


async def test_analytics_has_the_standard_health_service(shop: Shop) -> None:
    analytics = await shop.start("analytics")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{analytics.grpc_port}", options=NO_PROXY) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        for service in ("", "market.MarketDataService"):
            response = await check(health_pb2.HealthCheckRequest(service=service), timeout=20)
            assert response.status == health_pb2.HealthCheckResponse.SERVING


async def test_database_failure_is_unavailable_and_logged_with_the_trace(shop: Shop) -> None:
    analytics = await shop.start("analytics")
    with sqlite3.connect(shop.folder / "data" / "analytics.db") as connection:
        connection.execute("DROP TABLE bars")
    trace = "0af7651916cd43dd8448eb211c80319c"
    metadata = (("traceparent", f"00-{trace}-b7ad6b7169203331-01"),)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await send_tick(analytics, "BTC", 1.0, MINUTE, metadata)
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE

    def logged() -> bool:
        return any(
            record["event"] == "database unavailable" and record["trace_id"] == trace
            for record in analytics.records()
        )

    await until(logged)


async def test_trading_walks_by_its_seed_and_sends_to_analytics(shop: Shop) -> None:
    analytics = await shop.start("analytics")
    options = {"ANALYTICS": f"127.0.0.1:{analytics.grpc_port}", "TICKS_PER_SECOND": "20", "SEED": "7"}
    trading = await shop.start("trading", **options)
    await until(lambda: all_symbols_have_bars(shop, analytics))
    quote = await shop.call(trading, "GET", "/api/quotes/ETH")
    assert quote.status == 200
    assert quote.body.keys() == {"symbol", "price", "timestamp"}
    assert abs(quote.body["timestamp"] / 1000 - time.time()) < 30
    assert (await shop.call(trading, "GET", "/api/quotes/NONE")).code == "symbol_not_found"
    counts = await sent_ticks(shop, trading)
    assert counts["OK"] >= 10
    assert counts.keys() <= {"OK", "DEADLINE_EXCEEDED"}, "none is rejected"
    first = prices(shop, 10)
    assert await trading.stop() == 0
    await shop.start("trading", DATA_DIR=str(shop.folder / "other"), **options)
    await until(lambda: len(prices(shop, 10, "other")) == 10)
    assert prices(shop, 10, "other") == first


async def all_symbols_have_bars(shop: Shop, analytics: ServiceProcess) -> bool:
    """Whether every symbol has bars, after ten ticks each."""
    if len(prices(shop, 10)) < 10:
        return False
    return all([await bars(shop, analytics, symbol) for symbol in ("BTC", "ETH", "LTC", "XMR")])


def prices(shop: Shop, count: int, folder: str = "data") -> list[int]:
    """The first prices of a symbol in trading's database."""
    with sqlite3.connect(shop.folder / folder / "trading.db") as connection:
        query = "SELECT price FROM ticks WHERE symbol = 'BTC' ORDER BY number LIMIT ?"
        return [price for (price,) in connection.execute(query, (count,))]


async def test_replicas_of_trading_share_one_market(shop: Shop) -> None:
    options = {"TICKS_PER_SECOND": "10", "SEED": "7", "ANALYTICS": "127.0.0.1:1"}
    replicas = await asyncio.gather(shop.start("trading", **options), shop.start("trading", **options))
    await until(lambda: len(prices(shop, 20)) == 20)
    with sqlite3.connect(shop.folder / "data" / "trading.db") as connection:
        rows = connection.execute("SELECT timestamp FROM ticks WHERE symbol = 'BTC'")
        timestamps = [timestamp for (timestamp,) in rows]
    assert min(later - earlier for earlier, later in pairwise(timestamps)) >= 50
    assert [await replica.stop() for replica in replicas] == [0, 0]


async def test_trading_runs_without_analytics_and_counts_lost_ticks(shop: Shop) -> None:
    port = str(free_port())
    analytics = await shop.start("analytics", PORT_GRPC=port)
    options = {"ANALYTICS": f"127.0.0.1:{port}", "TICKS_PER_SECOND": "10"}
    trading = await shop.start("trading", **options)

    async def more_sent_than(count: float) -> bool:
        return (await sent_ticks(shop, trading)).get("OK", 0) > count

    await until(lambda: more_sent_than(0))
    await analytics.kill()

    async def ticks_lost() -> bool:
        return (await sent_ticks(shop, trading)).get("UNAVAILABLE", 0) > 4

    await until(ticks_lost)
    assert (await shop.call(trading, "GET", "/api/quotes/BTC")).status == 200
    count = (await sent_ticks(shop, trading))["OK"]
    await shop.start("analytics", PORT_GRPC=port)
    await until(lambda: more_sent_than(count))
    failing, working = "ticks do not reach analytics", "ticks reach analytics"

    def events() -> list[str]:
        return [record["event"] for record in trading.records() if record["event"] in (failing, working)]

    await until(lambda: events()[-1:] == [working] and failing in events())
    assert events()[0] == working
    assert all(event != following for event, following in pairwise(events())), "logged once per change"
    assert await trading.stop() == 0


async def test_wrong_rate_is_named_at_the_start(shop: Shop) -> None:
    with pytest.raises(AssertionError, match="trading: TICKS_PER_SECOND: 'often' is not valid"):
        await shop.start("trading", TICKS_PER_SECOND="often")
    assert shop.processes[-1].process.returncode == 2


async def test_used_grpc_port_is_named_at_the_start(shop: Shop) -> None:
    analytics = await shop.start("analytics")
    with pytest.raises(AssertionError, match="analytics: cannot start: gRPC at"):
        await shop.start("analytics", PORT_GRPC=str(analytics.grpc_port))
    assert shop.processes[-1].process.returncode == 1
