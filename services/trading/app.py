"""Trading's API and its market: quotes for everybody, and ticks that are made, kept and sent to analytics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from meshwright.services.kit.operations import (
    BodyModel,
    HttpError,
    Id,
    Operation,
    OperationRequest,
    OperationResponse,
)
from meshwright.services.kit.server import Runtime, ServiceDefinition
from meshwright.services.trading import domain
from meshwright.services.trading.feed import TickSender
from meshwright.services.trading.store import TABLES, TickStore

log = structlog.get_logger()


class QuoteResponse(BodyModel):
    """A symbol's newest price, in minor units; `timestamp` is milliseconds since the epoch."""

    symbol: Id
    price: int
    timestamp: int


class TickGenerator:
    """Makes a tick of every symbol again and again."""

    def __init__(self, settings: domain.MarketSettings, store: TickStore, feed: TickSender) -> None:
        self._settings = settings
        self._store = store
        self._feed = feed
        self._interval = 1000 / settings.rate if settings.rate else 0.0

    async def run(self) -> None:
        """Tick until cancelled; a database that does not answer costs ticks, no more."""
        if not self._interval:
            return
        beat = asyncio.get_running_loop().time()
        while True:
            try:
                await self._tick(time.time_ns() // 1_000_000)
            except SQLAlchemyError as error:
                log.error("no tick", error=type(error).__name__, exc_info=True)
            now = asyncio.get_running_loop().time()
            beat = max(beat + self._interval / 1000, now)
            await asyncio.sleep(beat - now)

    async def _tick(self, now: int) -> None:
        def following(symbol: str, last: domain.Tick | None) -> domain.Tick | None:
            if not domain.is_due(last, now, self._interval):
                return None
            return domain.next_tick(self._settings.seed, symbol, last, now)

        for tick in await self._store.advance(domain.MARKETS, following):
            self._feed.send(tick)


class QuotesApi:
    """The operations, over a store."""

    def __init__(self, store: TickStore) -> None:
        self._store = store

    def operations(self) -> list[Operation]:
        """All that trading offers."""
        return [Operation("GET", "/api/quotes/{symbol}", "A symbol's price", self.get, {200: QuoteResponse})]

    async def get(self, call: OperationRequest[None, None]) -> OperationResponse:
        symbol = call.path["symbol"]
        if not (tick := await self._store.quote(symbol)):
            raise HttpError(404, "symbol_not_found", f"there is no market for {symbol}")
        return OperationResponse(
            QuoteResponse(symbol=tick.symbol, price=tick.price, timestamp=tick.timestamp)
        )


@asynccontextmanager
async def _background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Let `work` run along until the end of the context."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def build_operations(runtime: Runtime) -> Sequence[Operation]:
    """Open the market, and return the operations."""
    settings = domain.read_market_settings(runtime.environ)
    store = TickStore(runtime.database)
    feed = await runtime.exit_stack.enter_async_context(
        TickSender(settings.analytics, runtime.metrics.registry)
    )
    await runtime.exit_stack.enter_async_context(_background(TickGenerator(settings, store, feed).run()))
    return QuotesApi(store).operations()


SERVICE = ServiceDefinition("trading", TABLES, build_operations)
