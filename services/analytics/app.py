"""Analytics' APIs: market ticks come in by gRPC, bars go out by REST.

Figures by day will come from the events of orders, which nobody publishes yet; there is no route for them.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from services.analytics import domain
from services.analytics.store import TABLES, Bars, FullError
from services.kit import market, rpc
from services.kit.operations import Answer, Call, Id, Model, Operation, Problem, Query
from services.kit.server import Assembly, Runtime


class Bar(Model):
    """A minute, which begins at `minute` (milliseconds since the epoch); prices in minor units."""

    minute: int
    open: float
    high: float
    low: float
    close: float


class BarList(Model):
    """A symbol's newest bars, oldest of them first; a minute without a tick has none."""

    symbol: Id
    bars: list[Bar]


class Newest(Query):
    """How many of the newest."""

    limit: int = Field(60, ge=1, le=1440)


class Analytics:
    """The operations, over a store."""

    def __init__(self, store: Bars) -> None:
        self._store = store

    def operations(self) -> list[Operation]:
        """What analytics offers by REST."""
        path = "/api/analytics/bars/{symbol}"
        return [Operation("GET", path, "A symbol by minute", self.bars, {200: BarList}, query=Newest)]

    def rpcs(self) -> list[rpc.Rpc]:
        """What it offers by gRPC."""
        return [rpc.Rpc(market.SERVICE, market.METHOD, market.MarketDataRequest, self.take)]

    async def bars(self, call: Call[None, Newest]) -> Answer:
        symbol = call.path["symbol"]
        found = await self._store.newest(symbol, call.query.limit)
        if not found:
            raise Problem(404, "symbol_not_found", f"there are no bars of a symbol {symbol}")
        return Answer(BarList(symbol=symbol, bars=[_shown(bar) for bar in found]))

    async def take(self, request: market.MarketDataRequest) -> market.MarketDataResponse:
        """Join a tick to its bar; refuses one that is none, and symbols without end."""
        tick = domain.Tick(request.assetSymbol, request.price, request.timestamp)
        if why := domain.fault(tick):
            raise Problem(422, "invalid", why)
        try:
            await self._store.add(tick)
        except FullError:
            words = f"no room for {tick.symbol}: bars of {domain.SYMBOL_LIMIT} symbols are kept"
            raise Problem(429, "too_many_symbols", words) from None
        return market.MarketDataResponse(success=True)


def _shown(bar: domain.Bar) -> Bar:
    return Bar(minute=bar.minute, open=bar.opened[1], high=bar.high, low=bar.low, close=bar.closed[1])


async def assemble(runtime: Runtime) -> Sequence[Operation]:
    """Listen for ticks, and return the operations."""
    analytics = Analytics(Bars(runtime.database))
    await runtime.life.enter_async_context(rpc.serving(runtime, analytics.rpcs()))
    return analytics.operations()


ASSEMBLY = Assembly("analytics", TABLES, assemble)
