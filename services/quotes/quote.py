"""Quotes of dealers, in the form in which legacy and trading exchange them: one takes over from the other."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, StringConstraints

from meshwright.services.kit.operations import BodyModel, HttpError, WholeNumber

PAIR_PATTERN = r"[A-Z0-9]{2,12}-[A-Z]{3}"
"""What dealers quote: an asset and the currency of its price, as in `XAU-USD`. Other symbols are markets."""

MAX_PRICE = 10**12
MAX_INTEGER = 2**53 - 1
"""The largest integer that every reader of JSON keeps (RFC 8259, section 6)."""

MAX_QUOTES = 200
"""Quotes of a page: some 20 KB of JSON."""

Pair = Annotated[str, StringConstraints(pattern=f"^{PAIR_PATTERN}$")]
Price = Annotated[WholeNumber, Field(ge=1, le=MAX_PRICE, description="Minor units")]


class DealerQuote(BodyModel):
    """A pair's price in minor units. `timestamp` is in milliseconds since the epoch.

    The owner of the quotes counts the versions of each pair, so that a copy knows which of two is newer.
    """

    symbol: Pair
    version: WholeNumber = Field(ge=1, le=MAX_INTEGER)
    price: Price
    timestamp: WholeNumber = Field(ge=0, le=MAX_INTEGER)


class QuotesPage(BodyModel):
    """Some quotes, ordered by symbol."""

    quotes: list[DealerQuote] = Field(max_length=MAX_QUOTES)


class SetQuoteRequest(BodyModel):
    """A pair's new price."""

    price: Price


class QuoteResponse(BodyModel):
    """A symbol's latest price in minor units. `timestamp` is in milliseconds since the epoch."""

    symbol: str
    price: int
    timestamp: int


def is_pair(symbol: str) -> bool:
    """Whether a symbol is quoted by dealers."""
    return re.fullmatch(PAIR_PATTERN, symbol) is not None


def check_pair(symbol: str) -> None:
    """Raise HttpError unless dealers quote the symbol."""
    if not is_pair(symbol):
        message = f"{symbol}: a pair has the form of XAU-USD; a market makes any other symbol's price"
        raise HttpError(422, "not_a_pair", message)


def unknown_symbol(symbol: str) -> HttpError:
    """The error for a symbol without a quote."""
    return HttpError(404, "symbol_not_found", f"there is no quote of {symbol}")


def quote_response(quote: DealerQuote) -> QuoteResponse:
    """What anybody sees of a quote."""
    return QuoteResponse(symbol=quote.symbol, price=quote.price, timestamp=quote.timestamp)


def next_quote(symbol: str, price: int, last: DealerQuote | None, now: int) -> DealerQuote:
    """The quote after `last` (None: the first) at `now` in ms since the epoch, always later than `last`."""
    if last is None:
        return DealerQuote(symbol=symbol, version=1, price=price, timestamp=now)
    return DealerQuote(
        symbol=symbol, version=last.version + 1, price=price, timestamp=max(now, last.timestamp + 1)
    )
