"""The order as an event-sourced aggregate. Pure.

An order's id is derived from the user and the Idempotency-Key. So the same request always concerns the same
order, wherever it arrives, and the event log's primary key lets only one be created.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from meshwright.services.events.event import ServiceEvent

OrderStatus = Literal["pending", "confirmed", "shipped", "cancelled"]
MAX_QUANTITY = 10_000
_NAMESPACE = uuid.UUID("3f1d5c0e-6a52-4f0b-9f63-7f5e0a4f8a11")


@dataclass(frozen=True, slots=True)
class OrderCreated:
    """`total` is in minor units, at the prices of the creation. `items` are (product, quantity).

    The confirmation goes to `email`, if there is one.
    """

    user_id: str
    items: tuple[tuple[str, int], ...]
    total: int
    email: str = ""


@dataclass(frozen=True, slots=True)
class OrderConfirmed:
    """The order is paid and will be fulfilled."""


@dataclass(frozen=True, slots=True)
class OrderShipped:
    """The goods are on their way."""

    tracking_number: str


@dataclass(frozen=True, slots=True)
class OrderCancelled:
    """The order will not be fulfilled. `reason` is a code."""

    reason: str


OrderEvent = OrderCreated | OrderConfirmed | OrderShipped | OrderCancelled


@dataclass(frozen=True, slots=True)
class Order:
    """The state after all events. `version` is their number. `reason`: why it is cancelled."""

    id: str
    user_id: str
    items: tuple[tuple[str, int], ...]
    total: int
    status: OrderStatus
    version: int
    reason: str = ""
    tracking_number: str = ""
    email: str = ""


@dataclass(frozen=True, slots=True)
class Cart:
    """What a user is about to order. `version` counts its changes. `order_id`: of its last checkout."""

    user_id: str
    items: tuple[tuple[str, int], ...] = ()
    version: int = 0
    order_id: str = ""


def order_id(user_id: str, key: str) -> str:
    """The id of a user's order with this Idempotency-Key."""
    return str(uuid.uuid5(_NAMESPACE, f"{user_id}\n{key}"))


def merge_items(items: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """One item per product, in order of first appearance."""
    quantities: dict[str, int] = {}
    for product, quantity in items:
        quantities[product] = quantities.get(product, 0) + quantity
    return tuple(quantities.items())


def create(
    user_id: str, items: tuple[tuple[str, int], ...], prices: Mapping[str, int], email: str = ""
) -> OrderCreated:
    """The first event of an order. `prices` has the minor units of every product in `items`."""
    return OrderCreated(user_id, items, sum(prices[product] * quantity for product, quantity in items), email)


NOTIFICATIONS = "notification-queue"
"""The queue of jobs for notifications."""


def confirmation(order: Order) -> dict[str, str] | None:
    """The job that tells the customer; None without an address."""
    if not order.email:
        return None
    return {
        "type": "order-confirmation", "userId": order.user_id, "orderId": order.id, "email": order.email,
    }  # fmt: skip


def apply(order: Order | None, event: OrderEvent, id_: str) -> Order:
    """The order after one more event. Raises ValueError for an event that cannot follow."""
    match event:
        case OrderCreated() if order is None:
            return Order(id_, event.user_id, event.items, event.total, "pending", 1, email=event.email)
        case OrderConfirmed() if order is not None and order.status == "pending":
            return replace(order, status="confirmed", version=order.version + 1)
        case OrderShipped() if order is not None and order.status == "confirmed":
            return replace(
                order,
                status="shipped",
                version=order.version + 1,
                tracking_number=event.tracking_number,
            )
        case OrderCancelled() if order is not None and order.status == "pending":
            return replace(order, status="cancelled", version=order.version + 1, reason=event.reason)
        case _:
            raise ValueError(f"{type(event).__name__} cannot follow in order {id_}")


def replay(id_: str, events: Iterable[OrderEvent]) -> Order | None:
    """The order after all events of a log; None for an empty log."""
    order: Order | None = None
    for event in events:
        order = apply(order, event, id_)
    return order


def published(order: Order, event: OrderEvent, now: int) -> ServiceEvent:
    """The event for other services; `order` includes it. Its id is the same when it is sent again."""
    name, data = _publication(order, event)
    facts = {"orderId": order.id, **data, "timestamp": now}
    return ServiceEvent(f"order.{name}", f"{order.id}:{order.version}", facts)


def _publication(order: Order, event: OrderEvent) -> tuple[str, dict[str, Any]]:
    match event:
        case OrderCreated():
            items = [{"productId": product, "quantity": quantity} for product, quantity in order.items]
            return "created", {"userId": order.user_id, "items": items, "total": order.total}
        case OrderConfirmed():
            return "confirmed", {"userId": order.user_id, "total": order.total}
        case OrderShipped():
            return "shipped", {"trackingNumber": event.tracking_number}
        case OrderCancelled():
            return "cancelled", {"reason": event.reason}


def encode(event: OrderEvent) -> tuple[str, dict[str, Any]]:
    """The stored form of an event: its name and JSON values."""
    match event:
        case OrderCreated():
            items = [[product, quantity] for product, quantity in event.items]
            facts = {"userId": event.user_id, "items": items, "total": event.total, "email": event.email}
            return "OrderCreated", facts
        case OrderConfirmed():
            return "OrderConfirmed", {}
        case OrderShipped():
            return "OrderShipped", {"trackingNumber": event.tracking_number}
        case OrderCancelled():
            return "OrderCancelled", {"reason": event.reason}


def decode(name: str, data: Mapping[str, Any]) -> OrderEvent:
    """The inverse of `encode`. Raises ValueError for an unknown name."""
    match name:
        case "OrderCreated":
            items = tuple((str(product), int(quantity)) for product, quantity in data["items"])
            return OrderCreated(str(data["userId"]), items, int(data["total"]), str(data.get("email", "")))
        case "OrderConfirmed":
            return OrderConfirmed()
        case "OrderShipped":
            return OrderShipped(str(data["trackingNumber"]))
        case "OrderCancelled":
            return OrderCancelled(str(data["reason"]))
        case _:
            raise ValueError(f"not an order event: {name}")
