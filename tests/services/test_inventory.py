"""Stock is never oversold and every step may be repeated, whatever comes in whatever order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwright.services.inventory import domain
from meshwright.services.inventory.domain import Decision, Reservation, Stock, StockConflictError

Step = tuple[str, str, tuple[tuple[str, int], ...], int]
PRODUCTS = ("a", "b", "c")
KINDS = st.sampled_from(["reserve", "commit", "release", "count"])
AMOUNTS = st.dictionaries(st.sampled_from(PRODUCTS), st.integers(1, 6), min_size=1)
LINES = AMOUNTS.map(lambda amounts: domain.merge_items(amounts.items()))
STEPS = st.lists(st.tuples(KINDS, st.sampled_from("xyz"), LINES, st.integers(0, 12)), max_size=40)


class Shelf:
    """A store in memory: keeps what the domain decides."""

    def __init__(self) -> None:
        self.stock = {product: Stock(8) for product in PRODUCTS}
        self.orders: dict[str, Reservation] = {}

    def step(self, step: Step) -> bool:
        """Whether it was accepted."""
        what, order, lines, count = step
        known = self.orders.get(order)
        try:
            match what:
                case "reserve":
                    self.keep(domain.reserve(order, lines, self.stock, known))
                case "commit":
                    self.keep(domain.commit(order, self.stock, known))
                case "release":
                    self.keep(domain.release(order, self.stock, known))
                case _:
                    self.stock["a"] = domain.recount(count, self.stock["a"])
        except StockConflictError:
            return False
        return True

    def keep(self, decision: Decision) -> None:
        self.orders[decision.reservation.order_id] = decision.reservation
        self.stock.update(decision.stock)


@given(STEPS)
def test_stock_is_never_negative_and_reserved_is_what_orders_hold(steps: list[Step]) -> None:
    shelf = Shelf()
    for step in steps:
        shelf.step(step)
        holders = [dict(one.lines) for one in shelf.orders.values() if one.state == "reserved"]
        for product, level in shelf.stock.items():
            assert level.reserved == sum(lines.get(product, 0) for lines in holders)
            assert 0 <= level.available <= level.on_hand


@given(STEPS)
def test_repeating_a_step_changes_nothing_and_answers_the_same(steps: list[Step]) -> None:
    shelf = Shelf()
    for step in steps:
        first = shelf.step(step)
        before = (dict(shelf.stock), dict(shelf.orders))
        assert shelf.step(step) == first
        assert (shelf.stock, shelf.orders) == before


def test_a_rejection_stands_even_when_stock_arrives_later() -> None:
    lines = (("a", 5),)
    rejected = domain.reserve("o", lines, {"a": Stock(4)}, None)
    assert rejected == Decision(Reservation("o", "rejected", lines))
    assert domain.reserve("o", lines, {"a": Stock(100)}, rejected.reservation) == rejected


def test_all_lines_or_none() -> None:
    decision = domain.reserve("o", (("a", 1), ("b", 1)), {"a": Stock(5)}, None)
    assert decision == Decision(Reservation("o", "rejected", (("a", 1), ("b", 1))))


def test_a_release_before_the_reserve_leaves_a_tombstone() -> None:
    tombstone = domain.release("o", {}, None).reservation
    with pytest.raises(StockConflictError) as refusal:
        domain.reserve("o", (("a", 1),), {"a": Stock(5)}, tombstone)
    assert refusal.value.code == "reservation_released"


@pytest.mark.parametrize("state", ["rejected", "released"])
def test_only_reserved_goods_are_committed(state: domain.ReservationState) -> None:
    with pytest.raises(StockConflictError) as refusal:
        domain.commit("o", {"a": Stock(5)}, Reservation("o", state, (("a", 1),)))
    assert refusal.value.code == "not_reserved"


def test_committed_goods_have_left_and_cannot_be_released() -> None:
    reserved = domain.reserve("o", (("a", 2),), {"a": Stock(5)}, None)
    committed = domain.commit("o", reserved.stock, reserved.reservation)
    assert committed.stock == {"a": Stock(3, 0)}
    with pytest.raises(StockConflictError) as refusal:
        domain.release("o", committed.stock, committed.reservation)
    assert refusal.value.code == "already_committed"


def test_an_order_cannot_change_its_mind() -> None:
    with pytest.raises(StockConflictError) as refusal:
        domain.reserve("o", (("a", 2),), {"a": Stock(5)}, Reservation("o", "reserved", (("a", 1),)))
    assert refusal.value.code == "reservation_differs"


def test_a_count_below_what_is_reserved_is_refused() -> None:
    with pytest.raises(StockConflictError):
        domain.recount(1, Stock(5, reserved=2))
    assert domain.recount(2, Stock(5, reserved=2)) == Stock(2, 2)


def test_lines_are_merged_and_sorted() -> None:
    assert domain.merge_items([("b", 1), ("a", 2), ("b", 3)]) == (("a", 2), ("b", 4))
