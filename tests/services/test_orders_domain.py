"""An order is the fold of its events."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwright.services.orders import domain
from meshwright.services.orders.domain import OrderCancelled, OrderConfirmed, OrderCreated, OrderShipped

CREATED = OrderCreated("ada", (("pen", 2), ("ink", 1)), 700)
IDS = st.text("abcxyz0189-._", min_size=1, max_size=20)
ITEMS: st.SearchStrategy[tuple[tuple[str, int], ...]] = st.lists(
    st.tuples(IDS, st.integers(1, 10_000)), max_size=5
).map(tuple)
EVENTS = st.one_of(
    st.builds(OrderCreated, IDS, ITEMS, st.integers(0, 10**15)),
    st.builds(OrderConfirmed),
    st.builds(OrderShipped, IDS),
    st.builds(OrderCancelled, IDS),
)


@given(EVENTS)
def test_events_survive_a_round_trip_through_json(event: domain.OrderEvent) -> None:
    name, data = domain.encode(event)
    assert domain.decode(name, json.loads(json.dumps(data))) == event


def test_order_is_created_pending_and_can_be_cancelled_once() -> None:
    order = domain.replay("o", [CREATED])
    assert order is not None
    assert (order.status, order.version, order.total) == ("pending", 1, 700)
    cancelled = domain.apply(order, OrderCancelled("out_of_stock"), "o")
    assert (cancelled.status, cancelled.version, cancelled.reason) == ("cancelled", 2, "out_of_stock")
    with pytest.raises(ValueError, match="cannot follow"):
        domain.apply(cancelled, OrderCancelled("again"), "o")


def test_only_a_confirmed_order_is_shipped_and_it_is_not_cancelled() -> None:
    shipped = domain.replay("o", [CREATED, OrderConfirmed(), OrderShipped("T1")])
    assert shipped is not None
    assert (shipped.status, shipped.version, shipped.tracking_number) == ("shipped", 3, "T1")


@pytest.mark.parametrize(
    "log",
    [
        [OrderCancelled("early")],
        [CREATED, CREATED],
        [CREATED, OrderShipped("T1")],
        [CREATED, OrderConfirmed(), OrderConfirmed()],
        [CREATED, OrderConfirmed(), OrderCancelled("late")],
    ],
)
def test_impossible_logs_are_rejected(log: list[domain.OrderEvent]) -> None:
    with pytest.raises(ValueError, match="cannot follow"):
        domain.replay("o", log)


def test_unknown_event_is_rejected() -> None:
    with pytest.raises(ValueError, match="OrderEaten"):
        domain.decode("OrderEaten", {})


def test_total_is_price_times_quantity() -> None:
    assert domain.create("ada", CREATED.items, {"pen": 150, "ink": 400}) == CREATED


def test_id_depends_on_user_and_key_only() -> None:
    assert domain.order_id("ada", "k") == domain.order_id("ada", "k")
    pairs = [("ada", "k"), ("ada", "k2"), ("bob", "k"), ("ad", "ak")]
    assert len({domain.order_id(user, key) for user, key in pairs}) == 4


def test_items_are_merged_in_order_of_first_appearance() -> None:
    assert domain.merge_items([("b", 1), ("a", 2), ("b", 3)]) == (("b", 4), ("a", 2))
