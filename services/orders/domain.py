"""The order as an event-sourced aggregate, and which step of its saga comes next. Pure.

An order's id follows from who orders and the Idempotency-Key, so that the same request, however often and
wherever it arrives, is about the same order, and the event log's primary key lets only one be created.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

OrderStatus = Literal["pending", "cancelled"]
SagaStep = Literal["reserved"]
MAX_QUANTITY = 10_000
_NAMESPACE = uuid.UUID("3f1d5c0e-6a52-4f0b-9f63-7f5e0a4f8a11")


@dataclass(frozen=True, slots=True)
class OrderCreated:
    """Somebody ordered; `total` is in minor units, at that moment's prices. `items`: (product, quantity)."""

    user_id: str
    items: tuple[tuple[str, int], ...]
    total: int


@dataclass(frozen=True, slots=True)
class OrderCancelled:
    """Nothing will come of it; `reason` is a code."""

    reason: str


OrderEvent = OrderCreated | OrderCancelled


@dataclass(frozen=True, slots=True)
class Order:
    """What the events add up to. `version` is how many there were."""

    id: str
    user_id: str
    items: tuple[tuple[str, int], ...]
    total: int
    status: OrderStatus
    version: int
    reason: str = ""


def order_id(user_id: str, key: str) -> str:
    """The id of the order that this user means by this Idempotency-Key."""
    return str(uuid.uuid5(_NAMESPACE, f"{user_id}\n{key}"))


def merge_items(items: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """One line a product, in the order first named."""
    wanted: dict[str, int] = {}
    for product, quantity in items:
        wanted[product] = wanted.get(product, 0) + quantity
    return tuple(wanted.items())


def create(user_id: str, items: tuple[tuple[str, int], ...], prices: Mapping[str, int]) -> OrderCreated:
    """The event that begins an order; `prices` in minor units, for every product of `items`."""
    return OrderCreated(user_id, items, sum(prices[product] * quantity for product, quantity in items))


def apply(order: Order | None, event: OrderEvent, id_: str) -> Order:
    """The order after one more event; raises ValueError for one that cannot follow."""
    match event:
        case OrderCreated() if order is None:
            return Order(id_, event.user_id, event.items, event.total, "pending", 1)
        case OrderCancelled() if order is not None and order.status == "pending":
            return replace(order, status="cancelled", version=order.version + 1, reason=event.reason)
        case _:
            raise ValueError(f"{type(event).__name__} cannot follow in order {id_}")


def replay(id_: str, events: Iterable[OrderEvent]) -> Order | None:
    """The order that a log adds up to; None for an empty log."""
    order: Order | None = None
    for event in events:
        order = apply(order, event, id_)
    return order


def next_step(order: Order, done: frozenset[SagaStep]) -> SagaStep | None:
    """What the saga must do next to get the order on; None when there is nothing."""
    if order.status == "pending" and "reserved" not in done:
        return "reserved"
    return None


def encode(event: OrderEvent) -> tuple[str, dict[str, Any]]:
    """An event as it is kept: its name and JSON values."""
    match event:
        case OrderCreated():
            lines = [[product, quantity] for product, quantity in event.items]
            return "OrderCreated", {"userId": event.user_id, "items": lines, "total": event.total}
        case OrderCancelled():
            return "OrderCancelled", {"reason": event.reason}


def decode(name: str, data: Mapping[str, Any]) -> OrderEvent:
    """The inverse of `encode`; raises ValueError for a name that it does not know."""
    match name:
        case "OrderCreated":
            items = tuple((str(product), int(quantity)) for product, quantity in data["items"])
            return OrderCreated(str(data["userId"]), items, int(data["total"]))
        case "OrderCancelled":
            return OrderCancelled(str(data["reason"]))
        case _:
            raise ValueError(f"not an event of an order: {name}")
