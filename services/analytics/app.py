"""Analytics' APIs: market ticks come in by gRPC, bars go out by REST.

Figures by day will come from the events of orders, which nobody publishes yet; there is no route for them.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from meshwright.services.analytics import domain
from meshwright.services.analytics.store import TABLES, BarStore, TooManySymbolsError
from meshwright.services.kit import market, rpc
from meshwright.services.kit.operations import (
    BodyModel,
    HttpError,
    Id,
    Operation,
    OperationRequest,
    OperationResponse,
    QueryModel,
)
from meshwright.services.kit.server import Runtime, ServiceDefinition


class BarResponse(BodyModel):
    """A minute, which begins at `minute` (milliseconds since the epoch); prices in minor units."""

    minute: int
    open: float
    high: float
    low: float
    close: float


class BarListResponse(BodyModel):
    """A symbol's newest bars, oldest of them first; a minute without a tick has none."""

    symbol: Id
    bars: list[BarResponse]


class BarListQuery(QueryModel):
    """How many of the newest."""

    limit: int = Field(60, ge=1, le=1440)


class AnalyticsApi:
    """The operations, over a store."""

    def __init__(self, store: BarStore) -> None:
        self._store = store

    def operations(self) -> list[Operation]:
        """What analytics offers by REST."""
        path = "/api/analytics/bars/{symbol}"
        return [
            Operation(
                "GET", path, "A symbol by minute", self.bars, {200: BarListResponse}, query=BarListQuery
            )
        ]

    def rpcs(self) -> list[rpc.RpcMethod]:
        """What it offers by gRPC."""
        return [rpc.RpcMethod(market.SERVICE, market.METHOD, market.MarketDataRequest, self.record_tick)]

    async def bars(self, call: OperationRequest[None, BarListQuery]) -> OperationResponse:
        symbol = call.path["symbol"]
        found = await self._store.latest(symbol, call.query.limit)
        if not found:
            raise HttpError(404, "symbol_not_found", f"there are no bars of a symbol {symbol}")
        return OperationResponse(BarListResponse(symbol=symbol, bars=[_bar_response(bar) for bar in found]))

    async def record_tick(self, request: market.MarketDataRequest) -> market.MarketDataResponse:
        """Join a tick to its bar; refuses one that is none, and symbols without end."""
        tick = domain.PriceTick(request.assetSymbol, request.price, request.timestamp)
        if why := domain.validation_error(tick):
            raise HttpError(422, "invalid", why)
        try:
            await self._store.add_tick(tick)
        except TooManySymbolsError:
            words = f"no room for {tick.symbol}: bars of {domain.MAX_SYMBOLS} symbols are kept"
            raise HttpError(429, "too_many_symbols", words) from None
        return market.MarketDataResponse(success=True)


def _bar_response(bar: domain.Bar) -> BarResponse:
    return BarResponse(minute=bar.minute, open=bar.opened[1], high=bar.high, low=bar.low, close=bar.closed[1])


async def build_operations(runtime: Runtime) -> Sequence[Operation]:
    """Listen for ticks, and return the operations."""
    analytics = AnalyticsApi(BarStore(runtime.database))
    await runtime.exit_stack.enter_async_context(rpc.serve_rpcs(runtime, analytics.rpcs()))
    return analytics.operations()


SERVICE = ServiceDefinition("analytics", TABLES, build_operations)
