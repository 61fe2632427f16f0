"""Trading's API of quotes: prices of markets, and the quotes of dealers that it takes over from legacy."""

from __future__ import annotations

import time

import structlog
from pydantic import BaseModel, Field

from meshwright.services.kit.callers import STAFF
from meshwright.services.kit.operations import (
    BodyModel,
    HttpError,
    Operation,
    OperationRequest,
    OperationResponse,
    QueryModel,
)
from meshwright.services.quotes.quote import (
    MAX_QUOTES,
    DealerQuote,
    QuoteResponse,
    QuotesPage,
    SetQuoteRequest,
    check_pair,
    is_pair,
    quote_response,
    unknown_symbol,
)
from meshwright.services.trading.quote_store import Owner, OwnerError, QuoteStore
from meshwright.services.trading.store import TickStore

PATH = "/api/quotes/{symbol}"
log = structlog.get_logger()


class PageQuery(QueryModel):
    """Where a page of quotes begins."""

    after: str = Field("", max_length=64, description="The last symbol of the page before")
    limit: int = Field(MAX_QUOTES, ge=1, le=MAX_QUOTES)


class HandOverRequest(BodyModel):
    """Who owns the quotes of dealers from now on."""

    owner: Owner


class CopiedResponse(BodyModel):
    """How many of the quotes were newer than those here."""

    stored: int


class QuotesApi:
    """The operations of trading. Those outside /api are for legacy."""

    def __init__(self, ticks: TickStore, quotes: QuoteStore) -> None:
        self._ticks = ticks
        self._quotes = quotes

    def operations(self) -> list[Operation]:
        """All operations."""
        quoted: dict[int, type[BaseModel] | None] = {200: QuoteResponse}
        dealt: dict[int, type[BaseModel] | None] = {200: DealerQuote}
        copied: dict[int, type[BaseModel] | None] = {200: CopiedResponse}
        return [
            Operation("GET", PATH, "Get a symbol's price", self.get, quoted),
            Operation("PUT", PATH, "Set a pair's price", self.set, dealt, body=SetQuoteRequest, roles=STAFF),
            Operation("GET", "/quotes", "List quotes", self.page, {200: QuotesPage}, query=PageQuery),
            Operation("PUT", "/quotes", "Copy quotes here", self.copy, copied, body=QuotesPage),
            Operation(
                "PUT", "/quotes/owner", "Hand quotes over", self.hand_over, {204: None}, body=HandOverRequest
            ),
        ]

    async def get(self, request: OperationRequest[None, None]) -> OperationResponse:
        symbol = request.path["symbol"]
        if is_pair(symbol):
            if quote := await self._quotes.get(symbol):
                return OperationResponse(quote_response(quote))
        elif tick := await self._ticks.quote(symbol):
            return OperationResponse(
                QuoteResponse(symbol=tick.symbol, price=tick.price, timestamp=tick.timestamp)
            )
        raise unknown_symbol(symbol)

    async def set(self, request: OperationRequest[SetQuoteRequest, None]) -> OperationResponse:
        """409 while legacy owns the quotes."""
        symbol = request.path["symbol"]
        check_pair(symbol)
        try:
            quote = await self._quotes.set(symbol, request.body.price, time.time_ns() // 1_000_000)
        except OwnerError as error:
            raise _refused(error) from None
        log.info("quote", symbol=symbol, version=quote.version, price=quote.price)
        return OperationResponse(quote)

    async def page(self, request: OperationRequest[None, PageQuery]) -> OperationResponse:
        page = await self._quotes.page(request.query.after, request.query.limit)
        return OperationResponse(QuotesPage(quotes=page))

    async def copy(self, request: OperationRequest[QuotesPage, None]) -> OperationResponse:
        """409 once trading owns the quotes."""
        try:
            return OperationResponse(CopiedResponse(stored=await self._quotes.copy(request.body.quotes)))
        except OwnerError as error:
            raise _refused(error) from None

    async def hand_over(self, request: OperationRequest[HandOverRequest, None]) -> OperationResponse:
        await self._quotes.hand_over(request.body.owner)
        log.info("quotes handed over", owner=request.body.owner)
        return OperationResponse(status=204)


def _refused(error: OwnerError) -> HttpError:
    return HttpError(409, f"{error.owner}_owns_quotes", str(error))
