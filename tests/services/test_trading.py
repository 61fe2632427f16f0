"""The market walks at random, and the same way for the same seed."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwright.services.kit.settings import SettingsError
from meshwright.services.trading.domain import (
    MARKETS,
    MAX_PRICE,
    Tick,
    is_due,
    next_tick,
    read_market_settings,
)


def walk(seed: str, symbol: str, steps: int, last: Tick | None = None) -> list[Tick]:
    made: list[Tick] = []
    for number in range(steps):
        last = next_tick(seed, symbol, last, 1000 * number)
        made.append(last)
    return made


def test_a_seed_makes_the_walk() -> None:
    prices = [tick.price for tick in walk("7", "BTC", 50)]
    assert prices == [tick.price for tick in walk("7", "BTC", 50)]
    assert prices != [tick.price for tick in walk("8", "BTC", 50)]
    assert prices[0] == MARKETS["BTC"]
    assert len(set(prices)) > 40


def test_a_walk_goes_on_where_another_process_left_it() -> None:
    whole = walk("7", "ETH", 20)
    rest = walk("7", "ETH", 10, whole[9])
    assert [tick.price for tick in rest] == [tick.price for tick in whole[10:]]
    assert [tick.number for tick in whole] == list(range(20))


def test_symbols_walk_each_their_own_way() -> None:
    rising = {symbol: [b.price > a.price for a, b in pairwise(walk("7", symbol, 40))] for symbol in MARKETS}
    assert len({tuple(signs) for signs in rising.values()}) == len(MARKETS)


@given(st.text(max_size=5), st.integers(1, MAX_PRICE), st.integers(0, 10**6), st.integers(0, 2**45))
def test_a_price_stays_a_price_and_time_goes_on(seed: str, price: int, number: int, now: int) -> None:
    last = Tick("BTC", number, price, 1000)
    following = next_tick(seed, "BTC", last, now)
    assert 1 <= following.price <= MAX_PRICE
    assert abs(following.price - price) <= price * 0.01 + 1
    assert following.timestamp > last.timestamp
    assert following.number == number + 1


def test_replicas_share_one_beat() -> None:
    last = Tick("BTC", 3, 100, 10_000)
    assert is_due(None, 0, 1000)
    assert not is_due(last, 10_200, 1000)
    assert is_due(last, 10_950, 1000)


def test_settings() -> None:
    assert read_market_settings({}) == read_market_settings(
        {"TICKS_PER_SECOND": "1", "SEED": "1", "ANALYTICS": "analytics:50051"}
    )
    assert read_market_settings({"TICKS_PER_SECOND": "0.5", "SEED": "x"}).rate == 0.5
    for wrong in ("often", "-1", "101", "nan", "inf"):
        with pytest.raises(SettingsError, match="TICKS_PER_SECOND"):
            read_market_settings({"TICKS_PER_SECOND": wrong})
