"""A bar is the fold of its ticks, in any order and with any repetition."""

from __future__ import annotations

import random
import re
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwright.services.analytics.domain import Bar, PriceTick, add_tick, validation_error
from meshwright.services.rpc import market, users

MINUTE = 28_000_000 * 60_000
PRICES = st.integers(1, 50).map(float)
TICKS = st.lists(
    st.builds(PriceTick, st.just("BTC"), PRICES, st.integers(MINUTE, MINUTE + 59_999)), min_size=1
)
RPC = Path(__file__).resolve().parents[2] / "services" / "rpc"
PROTO = (RPC / "market.proto").read_text()


def bar_of(ticks: list[PriceTick]) -> Bar:
    bar = None
    for tick in ticks:
        bar = add_tick(bar, tick)
    assert bar is not None
    return bar


def test_bar_has_first_last_highest_and_lowest_price() -> None:
    prices = [(10, 5.0), (20, 9.0), (30, 2.0), (40, 4.0)]
    bar = bar_of([PriceTick("BTC", price, MINUTE + offset) for offset, price in prices])
    assert (bar.minute, bar.opened[1], bar.high, bar.low, bar.closed[1]) == (MINUTE, 5.0, 9.0, 2.0, 4.0)


@given(TICKS, st.randoms())
def test_order_and_repetition_of_ticks_change_nothing(
    ticks: list[PriceTick], shuffler: random.Random
) -> None:
    repeated = [*ticks, *ticks]
    shuffler.shuffle(repeated)
    assert bar_of(repeated) == bar_of(ticks)


def test_tick_of_another_minute_or_symbol_is_rejected() -> None:
    bar = bar_of([PriceTick("BTC", 1.0, MINUTE)])
    with pytest.raises(ValueError, match="does not belong to this bar"):
        add_tick(bar, PriceTick("BTC", 1.0, MINUTE + 60_000))
    with pytest.raises(ValueError, match="does not belong to this bar"):
        add_tick(bar, PriceTick("ETH", 1.0, MINUTE))


@pytest.mark.parametrize(
    ("tick", "field"),
    [
        (PriceTick("", 1.0, MINUTE), "assetSymbol"),
        (PriceTick("BTC/EUR", 1.0, MINUTE), "assetSymbol"),
        (PriceTick("B" * 65, 1.0, MINUTE), "assetSymbol"),
        (PriceTick("BTC", 0.0, MINUTE), "price"),
        (PriceTick("BTC", -1.0, MINUTE), "price"),
        (PriceTick("BTC", float("nan"), MINUTE), "price"),
        (PriceTick("BTC", float("inf"), MINUTE), "price"),
        (PriceTick("BTC", 1.0, 0), "timestamp"),
        (PriceTick("BTC", 1.0, 2**53), "timestamp"),
    ],
)
def test_invalid_tick_is_rejected_with_its_field(tick: PriceTick, field: str) -> None:
    assert validation_error(tick).startswith(f"{field}: ")
    assert validation_error(PriceTick("BTC", 1.0, MINUTE)) == ""


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (market, "MarketDataRequest"),
        (market, "MarketDataResponse"),
        (users, "GetUserRequest"),
        (users, "User"),
    ],
)
def test_messages_equal_those_of_the_proto_file(module: ModuleType, name: str) -> None:
    proto = (RPC / f"{module.__name__.rpartition('.')[2]}.proto").read_text()
    body = re.search(rf"message {name} {{(.*?)}}", proto, re.DOTALL)
    assert body is not None
    declared = set(re.findall(r"^\s*(\w+) (\w+) = (\d+);", body[1], re.MULTILINE))
    types = {1: "double", 3: "int64", 8: "bool", 9: "string"}  # the numbers of descriptor.proto
    fields = getattr(module, name).DESCRIPTOR.fields
    assert {(types[field.type], field.name, str(field.number)) for field in fields} == declared


def test_service_equals_that_of_the_proto_file() -> None:
    package, service = market.SERVICE.split(".")
    assert f"package {package};" in PROTO
    assert f"service {service} {{" in PROTO
    assert f"rpc {market.METHOD}(MarketDataRequest) returns (MarketDataResponse);" in PROTO
    # The encoding of every gRPC implementation.
    request = market.MarketDataRequest(assetSymbol="BTC", price=1.5, timestamp=300)
    assert request.SerializeToString() == b"\x0a\x03BTC\x11\0\0\0\0\0\0\xf8\x3f\x18\xac\x02"
