"""Bars: what a symbol's price did within a minute. Pure.

A bar joins ticks in any order, and a tick that comes twice changes nothing, so that senders may repeat
themselves and replicas may share the work.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from meshwright.services.kit.operations import ID_PATTERN

MINUTE_MS = 60_000
MAX_TIMESTAMP = 2**53
"""Milliseconds; JSON numbers are exact below it."""

MAX_PRICE = 1e15
MAX_SYMBOLS = 1000
"""Symbols that bars are kept for; a sender cannot fill the database by inventing others."""

MAX_BARS = 7 * 24 * 60
"""Bars of a symbol that are kept: a week of minutes."""

_SYMBOL = re.compile(ID_PATTERN)

PricePoint = tuple[int, float]
"""When, in milliseconds since the epoch, and which price; ticks of one moment are ordered by price."""


@dataclass(frozen=True, slots=True)
class PriceTick:
    """A price in minor units at a moment in milliseconds since the epoch."""

    symbol: str
    price: float
    timestamp: int

    @property
    def minute(self) -> int:
        """The minute it belongs to, in milliseconds since the epoch."""
        return self.timestamp - self.timestamp % MINUTE_MS


@dataclass(frozen=True, slots=True)
class Bar:
    """One symbol's minute, which begins at `minute`, milliseconds since the epoch."""

    symbol: str
    minute: int
    opened: PricePoint
    high: float
    low: float
    closed: PricePoint


def validation_error(tick: PriceTick) -> str:
    """Why a tick cannot be taken; empty when it can."""
    if not _SYMBOL.fullmatch(tick.symbol):
        return "assetSymbol: letters, digits, `.`, `_` and `-`, up to 64 of them"
    if not (math.isfinite(tick.price) and 0 < tick.price <= MAX_PRICE):
        return f"price: a number above 0, up to {MAX_PRICE:g}"
    if not 0 < tick.timestamp < MAX_TIMESTAMP:
        return "timestamp: milliseconds since the epoch"
    return ""


def add_tick(bar: Bar | None, tick: PriceTick) -> Bar:
    """The bar of the tick's minute with the tick in it; raises ValueError for another's bar."""
    mark = (tick.timestamp, tick.price)
    if bar is None:
        return Bar(tick.symbol, tick.minute, mark, tick.price, tick.price, mark)
    if (bar.symbol, bar.minute) != (tick.symbol, tick.minute):
        raise ValueError(f"a tick of {tick.symbol} at {tick.timestamp} is not of this bar")
    return Bar(
        bar.symbol,
        bar.minute,
        min(bar.opened, mark),
        max(bar.high, tick.price),
        min(bar.low, tick.price),
        max(bar.closed, mark),
    )
