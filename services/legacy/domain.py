"""What dealers quote in a new exchange. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from meshwright.services.kit.quotes import DealerQuote

SEED_PRICES: Mapping[str, int] = {"EUR-USD": 108, "XAG-USD": 3_240, "XAU-USD": 241_500, "XPT-USD": 97_800}
"""The pairs of a new exchange and their prices in minor units."""


def seed_quotes(now: int) -> list[DealerQuote]:
    """The first quotes, at `now` in milliseconds since the epoch."""
    return [
        DealerQuote(symbol=symbol, version=1, price=price, timestamp=now)
        for symbol, price in SEED_PRICES.items()
    ]
