"""The market is a random walk, and the same one for the same seed."""

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
from meshwright.services.trading.shocks import shock


def walk(seed: str, symbol: str, steps: int, last: Tick | None = None) -> list[Tick]:
    ticks: list[Tick] = []
    for number in range(steps):
        step = last.number + 1 if last else 0
        last = next_tick(symbol, last, shock(seed, symbol, step), 1000 * number)
        ticks.append(last)
    return ticks


def test_seed_determines_the_walk() -> None:
    prices = [tick.price for tick in walk("7", "BTC", 50)]
    assert prices == [tick.price for tick in walk("7", "BTC", 50)]
    assert prices != [tick.price for tick in walk("8", "BTC", 50)]
    assert prices[0] == MARKETS["BTC"]
    assert len(set(prices)) > 40


def test_walk_continues_where_another_process_stopped() -> None:
    complete = walk("7", "ETH", 20)
    continued = walk("7", "ETH", 10, complete[9])
    assert [tick.price for tick in continued] == [tick.price for tick in complete[10:]]
    assert [tick.number for tick in complete] == list(range(20))


def test_symbols_have_different_walks() -> None:
    rising = {
        symbol: [later.price > earlier.price for earlier, later in pairwise(walk("7", symbol, 40))]
        for symbol in MARKETS
    }
    assert len({tuple(signs) for signs in rising.values()}) == len(MARKETS)


@given(st.text(max_size=5), st.integers(1, MAX_PRICE), st.integers(0, 10**6), st.integers(0, 2**45))
def test_price_stays_valid_and_time_increases(seed: str, price: int, number: int, now: int) -> None:
    last = Tick("BTC", number, price, 1000)
    following = next_tick("BTC", last, shock(seed, "BTC", number + 1), now)
    assert 1 <= following.price <= MAX_PRICE
    assert abs(following.price - price) <= price * 0.01 + 1
    assert following.timestamp > last.timestamp
    assert following.number == number + 1


def test_tick_is_due_after_half_an_interval() -> None:
    last = Tick("BTC", 3, 100, 10_000)
    assert is_due(None, 0, 1000)
    assert not is_due(last, 10_200, 1000)
    assert is_due(last, 10_950, 1000)


def test_market_settings_have_defaults_and_a_valid_rate() -> None:
    defaults = {"TICKS_PER_SECOND": "1", "SEED": "1", "ANALYTICS": "analytics:50051"}
    assert read_market_settings({}) == read_market_settings(defaults)
    assert read_market_settings({"TICKS_PER_SECOND": "0.5", "SEED": "x"}).rate == 0.5
    for invalid in ("often", "-1", "101", "nan", "inf"):
        with pytest.raises(SettingsError, match="TICKS_PER_SECOND"):
            read_market_settings({"TICKS_PER_SECOND": invalid})
