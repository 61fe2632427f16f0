"""Legacy's API: the monolith's quotes.

It keeps those of dealers until trading has taken them over, and asks trading for prices of markets.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TypeVar

import structlog
from prometheus_client import CollectorRegistry, Counter
from pydantic import BaseModel, ValidationError

from meshwright.services.kit.callers import STAFF
from meshwright.services.kit.client import ServiceClient, ServiceResponse, ServiceUnavailableError
from meshwright.services.kit.operations import HttpError, Operation, OperationRequest, OperationResponse
from meshwright.services.kit.service import Runtime, ServiceDefinition
from meshwright.services.legacy.domain import MigrationPhase
from meshwright.services.legacy.migration import POLL_SECONDS, Migration
from meshwright.services.legacy.store import TABLES, FrozenError, LegacyStore, TradingOwnsError
from meshwright.services.quotes.quote import (
    DealerQuote,
    QuoteResponse,
    SetQuoteRequest,
    check_pair,
    is_pair,
    quote_response,
    unknown_symbol,
)

PATH = "/api/quotes/{symbol}"

PATIENCE_SECONDS = 4.0
"""Seconds that a new quote waits for a change of the owner, which takes milliseconds. Callers wait 6 s."""

RETRY_SECONDS = 0.05
ModelT = TypeVar("ModelT", bound=BaseModel)
log = structlog.get_logger()


class LegacyApi:
    """The operations of legacy."""

    def __init__(
        self, store: LegacyStore, client: ServiceClient, migration: Migration, registry: CollectorRegistry
    ) -> None:
        self._store = store
        self._client = client
        self._migration = migration
        self._read = Counter(
            "quotes_read",
            "Quotes that legacy has answered with, by whose they were.",
            ("source",),
            registry=registry,
        )

    def operations(self) -> list[Operation]:
        """All operations."""
        quoted: dict[int, type[BaseModel] | None] = {200: QuoteResponse}
        dealt: dict[int, type[BaseModel] | None] = {200: DealerQuote}
        return [
            Operation("GET", PATH, "Get a symbol's price", self.get, quoted),
            Operation("PUT", PATH, "Set a pair's price", self.set, dealt, body=SetQuoteRequest, roles=STAFF),
        ]

    async def get(self, request: OperationRequest[None, None]) -> OperationResponse:
        symbol = request.path["symbol"]
        source, quote = (
            await self._get_pair(symbol) if is_pair(symbol) else ("trading", await self._ask(symbol))
        )
        if not quote:
            raise unknown_symbol(symbol)
        self._read.labels(source).inc()
        return OperationResponse(quote)

    async def _get_pair(self, symbol: str) -> tuple[str, QuoteResponse | None]:
        """Whose quote it is, and the quote."""
        local, state = await self._store.get(symbol)
        if state.trading_owns:
            return "trading", await self._ask(symbol)
        if not local or state.phase < MigrationPhase.READ_SHIFT:
            return "legacy", quote_response(local) if local else None
        try:
            copy = await self._ask(symbol)
        except ServiceUnavailableError as error:
            log.warning("trading does not answer: legacy does", error=str(error))
            return "legacy", quote_response(local)
        if not copy or copy.timestamp < local.timestamp:
            return "legacy", quote_response(local)
        return "trading", copy

    async def _ask(self, symbol: str) -> QuoteResponse | None:
        """Trading's quote."""
        response = await self._client.call("GET", "trading", PATH.format(symbol=symbol))
        return None if response.status == 404 else _read_response(response, QuoteResponse)

    async def set(self, request: OperationRequest[SetQuoteRequest, None]) -> OperationResponse:
        """The new quote, from whoever owns the quotes. 503 if that is being changed and takes long."""
        symbol, price = request.path["symbol"], request.body.price
        check_pair(symbol)
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while not (quote := await self._set(symbol, price)):
            if time.monotonic() > give_up_at:
                raise HttpError(503, "quotes_are_moving", "the quotes get a new owner: try again")
            await asyncio.sleep(RETRY_SECONDS)
        log.info("quote", symbol=symbol, version=quote.version, price=quote.price)
        return OperationResponse(quote)

    async def _set(self, symbol: str, price: int) -> DealerQuote | None:
        """The new quote; None while the owner changes."""
        try:
            quote, goes_to_trading = await self._store.set(symbol, price, time.time_ns() // 1_000_000)
        except FrozenError:
            return None
        except TradingOwnsError:
            return await self._set_at_trading(symbol, price)
        if goes_to_trading:
            try:
                await self._migration.copy([quote])
            except ServiceUnavailableError as error:
                log.warning("a quote is copied later", symbol=symbol, error=str(error))
        return quote

    async def _set_at_trading(self, symbol: str, price: int) -> DealerQuote | None:
        response = await self._client.call("PUT", "trading", PATH.format(symbol=symbol), {"price": price})
        if response.status == 409:
            return None
        quote = _read_response(response, DealerQuote)
        await self._store.keep([quote])
        return quote


def _read_response(response: ServiceResponse, model: type[ModelT]) -> ModelT:
    try:
        return model.model_validate(response.body)
    except ValidationError:
        raise ServiceUnavailableError("trading", f"status {response.status} without a quote") from None


async def build_operations(runtime: Runtime) -> Sequence[Operation]:
    """Open the store, and move quotes when that is asked for."""
    store = LegacyStore(runtime.database)
    await store.seed(time.time_ns() // 1_000_000)
    registry = runtime.registry
    migration = Migration(store, runtime.client, runtime.settings.instance, registry)
    await runtime.repeat("migration", POLL_SECONDS, migration.work)
    return LegacyApi(store, runtime.client, migration, registry).operations()


SERVICE = ServiceDefinition("legacy", TABLES, build_operations)
