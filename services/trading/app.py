"""Trading's API and its market: quotes for everybody, and ticks that are made, kept and sent to analytics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from services.kit.operations import Answer, Call, Id, Model, Operation, Problem
from services.kit.server import Assembly, Runtime
from services.trading import domain
from services.trading.feed import Feed
from services.trading.store import TABLES, Ticks

log = structlog.get_logger()


class Quote(Model):
    """A symbol's newest price, in minor units; `timestamp` is milliseconds since the epoch."""

    symbol: Id
    price: int
    timestamp: int


class Market:
    """Makes a tick of every symbol again and again."""

    def __init__(self, settings: domain.Settings, store: Ticks, feed: Feed) -> None:
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
            if not domain.due(last, now, self._interval):
                return None
            return domain.step(self._settings.seed, symbol, last, now)

        for tick in await self._store.advance(domain.MARKETS, following):
            self._feed.send(tick)


class Quotes:
    """The operations, over a store."""

    def __init__(self, store: Ticks) -> None:
        self._store = store

    def operations(self) -> list[Operation]:
        """All that trading offers."""
        return [Operation("GET", "/api/quotes/{symbol}", "A symbol's price", self.get, {200: Quote})]

    async def get(self, call: Call[None, None]) -> Answer:
        symbol = call.path["symbol"]
        if not (tick := await self._store.quote(symbol)):
            raise Problem(404, "symbol_not_found", f"there is no market for {symbol}")
        return Answer(Quote(symbol=tick.symbol, price=tick.price, timestamp=tick.timestamp))


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Let `work` run along until the end of the context."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def assemble(runtime: Runtime) -> Sequence[Operation]:
    """Open the market, and return the operations."""
    settings = domain.read(runtime.environ)
    store = Ticks(runtime.database)
    feed = await runtime.life.enter_async_context(Feed(settings.analytics, runtime.metrics.registry))
    await runtime.life.enter_async_context(_beside(Market(settings, store, feed).run()))
    return Quotes(store).operations()


ASSEMBLY = Assembly("trading", TABLES, assemble)
