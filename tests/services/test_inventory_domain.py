"""Stock is never oversold and each step can be repeated, in any order of steps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwright.services.inventory import domain
from meshwright.services.inventory.domain import Decision, Reservation, Stock, StockConflictError

Step = tuple[str, str, tuple[tuple[str, int], ...], int]
PRODUCTS = ("a", "b", "c")
KINDS = st.sampled_from(["reserve", "commit", "release", "expire", "count"])
AMOUNTS = st.dictionaries(st.sampled_from(PRODUCTS), st.integers(1, 6), min_size=1)
LINES = AMOUNTS.map(lambda amounts: domain.merge_items(amounts.items()))
STEPS = st.lists(st.tuples(KINDS, st.sampled_from("xyz"), LINES, st.integers(0, 12)), max_size=40)


class InMemoryStore:
    """Stores what the domain decides."""

    def __init__(self) -> None:
        self.stock = {product: Stock(8) for product in PRODUCTS}
        self.orders: dict[str, Reservation] = {}

    def run(self, step: Step) -> bool:
        """Run a step; returns whether it was accepted."""
        kind, order, lines, count = step
        current = self.orders.get(order)
        try:
            match kind:
                case "reserve":
                    self.store(domain.reserve(order, lines, self.stock, current))
                case "commit":
                    self.store(domain.commit(order, self.stock, current))
                case "release":
                    self.store(domain.release(order, self.stock, current))
                case "expire" if current:
                    self.store(domain.expire(self.stock, current))
                case "expire":
                    return False
                case _:
                    self.stock["a"] = domain.recount(count, self.stock["a"])
        except StockConflictError:
            return False
        return True

    def store(self, decision: Decision) -> None:
        self.orders[decision.reservation.order_id] = decision.reservation
        self.stock.update(decision.stock)


@given(STEPS)
def test_stock_is_never_negative_and_reserved_is_the_sum_of_reservations(steps: list[Step]) -> None:
    store = InMemoryStore()
    for step in steps:
        store.run(step)
        reserved = [dict(order.lines) for order in store.orders.values() if order.state == "reserved"]
        for product, level in store.stock.items():
            assert level.reserved == sum(lines.get(product, 0) for lines in reserved)
            assert 0 <= level.available <= level.on_hand


@given(STEPS)
def test_repeating_a_step_changes_nothing_and_has_the_same_outcome(steps: list[Step]) -> None:
    store = InMemoryStore()
    for step in steps:
        first = store.run(step)
        before = (dict(store.stock), dict(store.orders))
        assert store.run(step) == first
        assert (store.stock, store.orders) == before


def test_rejection_stands_even_when_stock_arrives_later() -> None:
    lines = (("a", 5),)
    rejected = domain.reserve("o", lines, {"a": Stock(4)}, None)
    assert rejected == Decision(Reservation("o", "rejected", lines))
    assert domain.reserve("o", lines, {"a": Stock(100)}, rejected.reservation) == rejected


def test_reserve_takes_all_lines_or_none() -> None:
    decision = domain.reserve("o", (("a", 1), ("b", 1)), {"a": Stock(5)}, None)
    assert decision == Decision(Reservation("o", "rejected", (("a", 1), ("b", 1))))


def test_release_before_the_reserve_leaves_a_tombstone() -> None:
    tombstone = domain.release("o", {}, None).reservation
    with pytest.raises(StockConflictError) as error:
        domain.reserve("o", (("a", 1),), {"a": Stock(5)}, tombstone)
    assert error.value.code == "reservation_released"


@pytest.mark.parametrize("state", ["rejected", "released"])
def test_only_reserved_goods_can_be_committed(state: domain.ReservationState) -> None:
    with pytest.raises(StockConflictError) as error:
        domain.commit("o", {"a": Stock(5)}, Reservation("o", state, (("a", 1),)))
    assert error.value.code == "not_reserved"


def test_committed_goods_cannot_be_released() -> None:
    reserved = domain.reserve("o", (("a", 2),), {"a": Stock(5)}, None)
    committed = domain.commit("o", reserved.stock, reserved.reservation)
    assert committed.stock == {"a": Stock(3, 0)}
    with pytest.raises(StockConflictError) as error:
        domain.release("o", committed.stock, committed.reservation)
    assert error.value.code == "already_committed"


def test_expired_reservation_can_be_committed_while_its_goods_are_there() -> None:
    reserved = domain.reserve("o", (("a", 2),), {"a": Stock(5)}, None)
    expired = domain.expire(reserved.stock, reserved.reservation)
    assert (expired.reservation.state, expired.stock) == ("expired", {"a": Stock(5, 0)})
    assert domain.commit("o", expired.stock, expired.reservation).stock == {"a": Stock(3, 0)}
    again = domain.reserve("o", (("a", 2),), expired.stock, expired.reservation)
    assert (again.reservation.state, again.stock) == ("reserved", {"a": Stock(5, 2)})
    assert domain.release("o", expired.stock, expired.reservation).stock == {}
    with pytest.raises(StockConflictError) as error:
        domain.commit("o", {"a": Stock(2, 1)}, expired.reservation)
    assert error.value.code == "out_of_stock"


def test_decided_reservation_does_not_expire() -> None:
    reserved = domain.reserve("o", (("a", 2),), {"a": Stock(5)}, None)
    committed = domain.commit("o", reserved.stock, reserved.reservation)
    assert domain.expire(committed.stock, committed.reservation) == Decision(committed.reservation)


def test_order_cannot_change_its_items() -> None:
    with pytest.raises(StockConflictError) as error:
        domain.reserve("o", (("a", 2),), {"a": Stock(5)}, Reservation("o", "reserved", (("a", 1),)))
    assert error.value.code == "reservation_differs"


def test_recount_below_the_reserved_pieces_is_rejected() -> None:
    with pytest.raises(StockConflictError):
        domain.recount(1, Stock(5, reserved=2))
    assert domain.recount(2, Stock(5, reserved=2)) == Stock(2, 2)


def test_items_are_merged_and_sorted() -> None:
    assert domain.merge_items([("b", 1), ("a", 2), ("b", 3)]) == (("a", 2), ("b", 4))
