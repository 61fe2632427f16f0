"""Bars: a symbol's prices within one minute. Pure.

A bar takes ticks in any order, and a repeated tick changes nothing. So senders may retry and replicas may
share the work.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from meshwright.services.kit.ids import ID_PATTERN

MINUTE_MS = 60_000
MAX_TIMESTAMP = 2**53
"""Milliseconds. JSON numbers are exact below."""

MAX_PRICE = 1e15
MAX_SYMBOLS = 1000
"""Symbols with bars. A sender cannot fill the database with invented ones."""

MAX_BARS = 7 * 24 * 60
"""Bars that are stored for a symbol: a week of minutes."""

_SYMBOL = re.compile(ID_PATTERN)

PricePoint = tuple[int, float]
"""Milliseconds since the epoch, and price. Simultaneous ticks are ordered by price."""


@dataclass(frozen=True, slots=True)
class PriceTick:
    """A price in minor units. `timestamp` is in milliseconds since the epoch."""

    symbol: str
    price: float
    timestamp: int

    @property
    def minute(self) -> int:
        """The start of its minute, in milliseconds since the epoch."""
        return self.timestamp - self.timestamp % MINUTE_MS


@dataclass(frozen=True, slots=True)
class Bar:
    """One symbol's minute from `minute` on, in milliseconds since the epoch."""

    symbol: str
    minute: int
    opened: PricePoint
    high: float
    low: float
    closed: PricePoint


def validation_error(tick: PriceTick) -> str:
    """Why a tick is invalid; empty when it is valid."""
    if not _SYMBOL.fullmatch(tick.symbol):
        return "assetSymbol: up to 64 letters, digits, `.`, `_` and `-`"
    if not (math.isfinite(tick.price) and 0 < tick.price <= MAX_PRICE):
        return f"price: a number above 0, up to {MAX_PRICE:g}"
    if not 0 < tick.timestamp < MAX_TIMESTAMP:
        return "timestamp: milliseconds since the epoch"
    return ""


def add_tick(bar: Bar | None, tick: PriceTick) -> Bar:
    """The bar of the tick's minute including the tick. Raises ValueError for the bar of another minute."""
    point = (tick.timestamp, tick.price)
    if bar is None:
        return Bar(tick.symbol, tick.minute, point, tick.price, tick.price, point)
    if (bar.symbol, bar.minute) != (tick.symbol, tick.minute):
        raise ValueError(f"a tick of {tick.symbol} at {tick.timestamp} does not belong to this bar")
    return Bar(
        bar.symbol,
        bar.minute,
        min(bar.opened, point),
        max(bar.high, tick.price),
        min(bar.low, tick.price),
        max(bar.closed, point),
    )
