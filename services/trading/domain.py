"""The market: one random walk per symbol. Pure; the caller passes in the random values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from meshwright.services.kit.settings import SettingsError

MARKETS: Mapping[str, int] = {"BTC": 6_400_000, "ETH": 310_000, "LTC": 8_200, "XMR": 16_500}
"""The symbols and their initial prices in minor units."""

STEP_DEVIATION = 0.001
"""Standard deviation of one step, relative to the price."""

MAX_PRICE = 10**12
MAX_TICKS = 3600
"""Ticks that are stored for a symbol."""

MAX_RATE = 100.0


@dataclass(frozen=True, slots=True)
class Tick:
    """The `number`th price of a symbol, in minor units. `timestamp` is in milliseconds since the epoch."""

    symbol: str
    number: int
    price: int
    timestamp: int


@dataclass(frozen=True, slots=True)
class MarketSettings:
    """`rate`: ticks per second and symbol, 0 for none. `seed` fixes the walk. `analytics`: its address."""

    rate: float = 1.0
    seed: str = "1"
    analytics: str = "analytics:50051"


def read_market_settings(environ: Mapping[str, str]) -> MarketSettings:
    """Settings from `TICKS_PER_SECOND`, `SEED` and `ANALYTICS`. Raises SettingsError."""
    text = environ.get("TICKS_PER_SECOND") or "1"
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 <= rate <= MAX_RATE:
        raise SettingsError(f"TICKS_PER_SECOND: {text!r} is not valid: set a number from 0 to {MAX_RATE:g}")
    return MarketSettings(rate, environ.get("SEED") or "1", environ.get("ANALYTICS") or "analytics:50051")


def next_tick(symbol: str, last: Tick | None, shock: float, now: int) -> Tick:
    """The tick after `last` (None: the first) at `now` in ms since the epoch, always later than `last`.

    `shock` is the step's random value, normally distributed around 0 with deviation 1.
    """
    if last is None:
        return Tick(symbol, 0, MARKETS[symbol], now)
    number = last.number + 1
    price = round(last.price * math.exp(STEP_DEVIATION * shock))
    return Tick(symbol, number, min(max(price, 1), MAX_PRICE), max(now, last.timestamp + 1))


def is_due(last: Tick | None, now: int, interval_ms: float) -> bool:
    """Whether it is time for the next tick. Half an interval is enough, so that replicas share one beat."""
    return last is None or now - last.timestamp >= interval_ms / 2
