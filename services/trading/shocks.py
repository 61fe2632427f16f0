"""The random values of the market's walks, reproducible from the seed."""

from __future__ import annotations

import random


def shock(seed: str, symbol: str, number: int) -> float:
    """The normally distributed value of a symbol's step `number`.

    It depends on nothing else, so that a restarted process or another replica continues the same walk.
    """
    return random.Random(f"{seed}/{symbol}/{number}").gauss(0.0, 1.0)  # noqa: S311  simulation, not secrecy
