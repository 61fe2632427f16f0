"""Analytics: takes market ticks by gRPC and events of orders, serves bars and daily figures by HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from pydantic import Field

from meshwright.services.analytics import daily, domain
from meshwright.services.analytics.daily_store import DailyStore
from meshwright.services.analytics.store import TABLES, BarStore, TooManySymbolsError
from meshwright.services.events.broker import open_broker
from meshwright.services.events.consumer import EventSubscription, subscribe
from meshwright.services.events.event import ServiceEvent
from meshwright.services.kit.callers import STAFF
from meshwright.services.kit.operations import (
    BodyModel,
    HttpError,
    Id,
    Operation,
    OperationRequest,
    OperationResponse,
    QueryModel,
)
from meshwright.services.kit.service import Runtime, ServiceDefinition
from meshwright.services.rpc import market
from meshwright.services.rpc import server as rpc


class BarResponse(BodyModel):
    """One minute from `minute` on (milliseconds since the epoch). Prices are in minor units."""

    minute: int
    open: float
    high: float
    low: float
    close: float


class BarListResponse(BodyModel):
    """A symbol's latest bars, oldest first. A minute without ticks has none."""

    symbol: Id
    bars: list[BarResponse]


class BarListQuery(QueryModel):
    """The maximum number of bars."""

    limit: int = Field(60, ge=1, le=1440)


class DayResponse(BodyModel):
    """A day (UTC): orders by what happened to them, and the revenue of those confirmed, in minor units."""

    day: str
    created: int
    confirmed: int
    cancelled: int
    shipped: int
    revenue: int


class DailyResponse(BodyModel):
    """The latest days with orders, oldest first."""

    days: list[DayResponse]


class DailyQuery(QueryModel):
    """The maximum number of days."""

    limit: int = Field(30, ge=1, le=366)


class AnalyticsApi:
    """The operations of analytics."""

    def __init__(self, store: BarStore, daily: DailyStore) -> None:
        self._store = store
        self._daily = daily

    def operations(self) -> list[Operation]:
        """All HTTP operations."""
        return [
            Operation(
                "GET",
                "/api/analytics/bars/{symbol}",
                "List a symbol's bars by minute",
                self.bars,
                {200: BarListResponse},
                query=BarListQuery,
            ),
            Operation(
                "GET",
                "/api/analytics/daily",
                "List daily figures of orders",
                self.days,
                {200: DailyResponse},
                query=DailyQuery,
                roles=STAFF,
            ),
        ]

    def rpcs(self) -> list[rpc.RpcMethod]:
        """All gRPC methods."""
        return [rpc.RpcMethod(market.SERVICE, market.METHOD, market.MarketDataRequest, self.record_tick)]

    async def bars(self, request: OperationRequest[None, BarListQuery]) -> OperationResponse:
        symbol = request.path["symbol"]
        bars = await self._store.latest(symbol, request.query.limit)
        if not bars:
            raise HttpError(404, "symbol_not_found", f"there are no bars of {symbol}")
        return OperationResponse(BarListResponse(symbol=symbol, bars=[_bar_response(bar) for bar in bars]))

    async def days(self, request: OperationRequest[None, DailyQuery]) -> OperationResponse:
        days = await self._daily.latest(request.query.limit)
        return OperationResponse(DailyResponse(days=[DayResponse(**asdict(day)) for day in days]))

    async def apply(self, event: ServiceEvent) -> None:
        """Count an event of an order once. Raises ValueError for one that is not valid."""
        await self._daily.apply(event.id, daily.addition(event))

    async def record_tick(self, request: market.MarketDataRequest) -> market.MarketDataResponse:
        """Add a tick to its bar. Rejects invalid ticks, and new symbols beyond the limit."""
        tick = domain.PriceTick(request.assetSymbol, request.price, request.timestamp)
        if error := domain.validation_error(tick):
            raise HttpError(422, "invalid", error)
        try:
            await self._store.add_tick(tick)
        except TooManySymbolsError:
            message = f"no room for {tick.symbol}: the limit is {domain.MAX_SYMBOLS} symbols"
            raise HttpError(429, "too_many_symbols", message) from None
        return market.MarketDataResponse(success=True)


def _bar_response(bar: domain.Bar) -> BarResponse:
    return BarResponse(minute=bar.minute, open=bar.opened[1], high=bar.high, low=bar.low, close=bar.closed[1])


async def build_operations(runtime: Runtime) -> Sequence[Operation]:
    """Start the gRPC server, and take events in the background."""
    api = AnalyticsApi(BarStore(runtime.database), DailyStore(runtime.database))
    if redis := open_broker(runtime):
        await subscribe(runtime, redis, EventSubscription(daily.GROUP, tuple(daily.FIGURES), api.apply))
    await runtime.exit_stack.enter_async_context(rpc.serve_rpcs(runtime, api.rpcs()))
    return api.operations()


SERVICE = ServiceDefinition("analytics", TABLES, build_operations)
