"""Legacy's API: the monolith's quotes. It keeps those of dealers, and asks trading for prices of markets."""

from __future__ import annotations

import time
from collections.abc import Sequence

import structlog
from pydantic import BaseModel, ValidationError

from meshwright.services.kit.callers import STAFF
from meshwright.services.kit.client import ServiceClient, ServiceResponse, ServiceUnavailableError
from meshwright.services.kit.operations import HttpError, Operation, OperationRequest, OperationResponse
from meshwright.services.kit.quotes import DealerQuote, QuoteResponse, SetQuoteRequest, is_pair
from meshwright.services.kit.server import Runtime, ServiceDefinition
from meshwright.services.legacy.store import TABLES, LegacyStore

PATH = "/api/quotes/{symbol}"
log = structlog.get_logger()


class LegacyApi:
    """The operations of legacy."""

    def __init__(self, store: LegacyStore, client: ServiceClient) -> None:
        self._store = store
        self._client = client

    def operations(self) -> list[Operation]:
        """All operations."""
        quoted: dict[int, type[BaseModel] | None] = {200: QuoteResponse}
        return [
            Operation("GET", PATH, "Get a symbol's price", self.get, quoted),
            Operation("PUT", PATH, "Set a pair's price", self.set, quoted, body=SetQuoteRequest, roles=STAFF),
        ]

    async def get(self, request: OperationRequest[None, None]) -> OperationResponse:
        """A pair's quote from here, any other symbol's from trading."""
        symbol = request.path["symbol"]
        if not is_pair(symbol):
            response = await self._client.call("GET", "trading", f"/api/quotes/{symbol}")
            return OperationResponse(_quote_of_trading(response, symbol))
        if not (quote := await self._store.get(symbol)):
            raise _unknown(symbol)
        return OperationResponse(_response(quote))

    async def set(self, request: OperationRequest[SetQuoteRequest, None]) -> OperationResponse:
        """422 for a symbol that is no pair: its price is made by a market."""
        symbol = request.path["symbol"]
        if not is_pair(symbol):
            raise HttpError(
                422, "not_a_pair", f"{symbol}: a pair has the form of XAU-USD; markets set the rest"
            )
        quote = await self._store.set(symbol, request.body.price, time.time_ns() // 1_000_000)
        log.info("quote", symbol=symbol, version=quote.version, price=quote.price)
        return OperationResponse(_response(quote))


def _response(quote: DealerQuote) -> QuoteResponse:
    return QuoteResponse(symbol=quote.symbol, price=quote.price, timestamp=quote.timestamp)


def _unknown(symbol: str) -> HttpError:
    return HttpError(404, "symbol_not_found", f"there is no quote of {symbol}")


def _quote_of_trading(response: ServiceResponse, symbol: str) -> QuoteResponse:
    if response.status == 404:
        raise _unknown(symbol)
    try:
        return QuoteResponse.model_validate(response.body)
    except ValidationError:
        raise ServiceUnavailableError("trading", f"status {response.status} without a quote") from None


async def build_operations(runtime: Runtime) -> Sequence[Operation]:
    """Open the store."""
    store = LegacyStore(runtime.database)
    await store.seed(time.time_ns() // 1_000_000)
    return LegacyApi(store, runtime.client).operations()


SERVICE = ServiceDefinition("legacy", TABLES, build_operations)
