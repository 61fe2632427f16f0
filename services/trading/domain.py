"""The market: a random walk per symbol. Pure, and the same walk for the same seed.

Every step follows from the seed, the symbol and the step's number alone, so that a restarted process, or
another replica, goes on with the same walk.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass

from meshwright.services.kit.settings import SettingsError

MARKETS: Mapping[str, int] = {"BTC": 6_400_000, "ETH": 310_000, "LTC": 8_200, "XMR": 16_500}
"""Symbols and where their walks begin, in minor units."""

STEP_DEVIATION = 0.001
"""The standard deviation of one step, as a share of the price."""

MAX_PRICE = 10**12
MAX_TICKS = 3600
"""Ticks of a symbol that are kept."""

MAX_RATE = 100.0


@dataclass(frozen=True, slots=True)
class Tick:
    """The `number`th price of a symbol, in minor units; `timestamp` in milliseconds since the epoch."""

    symbol: str
    number: int
    price: int
    timestamp: int


@dataclass(frozen=True, slots=True)
class MarketSettings:
    """`rate`: ticks a second and symbol, 0 for none. `seed` makes the walk. `analytics`: whom to tell."""

    rate: float = 1.0
    seed: str = "1"
    analytics: str = "analytics:50051"


def read_market_settings(environ: Mapping[str, str]) -> MarketSettings:
    """Settings from `TICKS_PER_SECOND`, `SEED` and `ANALYTICS`; raises SettingsError."""
    text = environ.get("TICKS_PER_SECOND") or "1"
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 <= rate <= MAX_RATE:
        raise SettingsError(f"TICKS_PER_SECOND: {text!r} does not do: give a number from 0 to {MAX_RATE:g}")
    return MarketSettings(rate, environ.get("SEED") or "1", environ.get("ANALYTICS") or "analytics:50051")


def next_tick(seed: str, symbol: str, last: Tick | None, now: int) -> Tick:
    """The tick after `last` (None: the first) at `now`, in ms since the epoch; always later than `last`."""
    if last is None:
        return Tick(symbol, 0, MARKETS[symbol], now)
    number = last.number + 1
    chance = random.Random(f"{seed}/{symbol}/{number}")  # noqa: S311  a game of chance, not a secret
    price = round(last.price * math.exp(STEP_DEVIATION * chance.gauss(0.0, 1.0)))
    return Tick(symbol, number, min(max(price, 1), MAX_PRICE), max(now, last.timestamp + 1))


def is_due(last: Tick | None, now: int, interval: float) -> bool:
    """Whether it is time for another tick (`interval` in ms): replicas side by side share one beat."""
    return last is None or now - last.timestamp >= interval / 2
