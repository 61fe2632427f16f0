"""Stock and reservations. The rules never oversell, and each step can be repeated. Pure.

A reservation belongs to one order and is decided once: `reserved`, or `rejected` if stock is short. A
reserved one becomes `committed` (the goods leave) or `released` (they are available again). Releasing an
unknown reservation leaves a tombstone, so that a late request to reserve for a cancelled order gets nothing.
One that nobody decides becomes `expired`: its goods are available again. It can be reserved or committed
later, as long as they still are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

ReservationState = Literal["reserved", "rejected", "committed", "released", "expired"]
MAX_QUANTITY = 1_000_000
MAX_STOCK = 10**12

RESERVATION_SECONDS = 15 * 60
"""Seconds after which a reservation that is neither committed nor released expires."""


class StockConflictError(Exception):
    """A step that the state of a reservation or of the stock does not allow. `code` is for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Stock:
    """Pieces of one product: how many are on hand, and how many of those are reserved."""

    on_hand: int
    reserved: int = 0

    @property
    def available(self) -> int:
        """Pieces that can still be reserved."""
        return self.on_hand - self.reserved


@dataclass(frozen=True, slots=True)
class Reservation:
    """The reservation of one order. `lines` are (product, quantity), one per product, sorted by product."""

    order_id: str
    state: ReservationState
    lines: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of a step: the reservation, and the stock that changes."""

    reservation: Reservation
    stock: Mapping[str, Stock] = field(default_factory=dict)


def merge_items(items: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """One line per product, sorted, so that equal requests are equal and rows are locked in one order."""
    quantities: dict[str, int] = {}
    for product, quantity in items:
        quantities[product] = quantities.get(product, 0) + quantity
    return tuple(sorted(quantities.items()))


def reserve(
    order_id: str,
    lines: tuple[tuple[str, int], ...],
    stock: Mapping[str, Stock],
    current: Reservation | None,
) -> Decision:
    """Reserve all lines or none. An earlier decision stands.

    Raises StockConflictError when it was for other lines, or was released.
    """
    if current is not None:
        if current.state == "released":
            message = f"the reservation of order {order_id} was released"
            raise StockConflictError("reservation_released", message)
        if current.lines != lines:
            message = f"order {order_id} has a reservation of other items"
            raise StockConflictError("reservation_differs", message)
        if current.state != "expired":
            return Decision(current)
    if not _is_available(lines, stock):
        return Decision(Reservation(order_id, "rejected", lines))
    reserved = {
        product: Stock(stock[product].on_hand, stock[product].reserved + count) for product, count in lines
    }
    return Decision(Reservation(order_id, "reserved", lines), reserved)


def _is_available(lines: tuple[tuple[str, int], ...], stock: Mapping[str, Stock]) -> bool:
    return all(product in stock and stock[product].available >= quantity for product, quantity in lines)


def commit(order_id: str, stock: Mapping[str, Stock], current: Reservation | None) -> Decision:
    """The goods leave. Idempotent. Raises StockConflictError unless they are reserved, or still there after
    the reservation expired.
    """
    if current is None or current.state in ("rejected", "released"):
        state = current.state if current else "unknown"
        message = f"order {order_id} has nothing to commit: its reservation is {state}"
        raise StockConflictError("not_reserved", message)
    if current.state == "committed":
        return Decision(current)
    is_expired = current.state == "expired"
    if is_expired and not _is_available(current.lines, stock):
        message = f"not enough stock for order {order_id}, whose reservation has expired"
        raise StockConflictError("out_of_stock", message)
    remaining = {
        product: Stock(stock[product].on_hand - count, stock[product].reserved - (0 if is_expired else count))
        for product, count in current.lines
    }
    return Decision(Reservation(order_id, "committed", current.lines), remaining)


def release(order_id: str, stock: Mapping[str, Stock], current: Reservation | None) -> Decision:
    """The goods are available again. Idempotent. Raises StockConflictError once they have left."""
    if current is None:
        return Decision(Reservation(order_id, "released", ()))
    if current.state == "committed":
        message = f"order {order_id} is committed: its goods have left"
        raise StockConflictError("already_committed", message)
    if current.state == "released":
        return Decision(current)
    return Decision(Reservation(order_id, "released", current.lines), _given_back(current, stock))


def expire(stock: Mapping[str, Stock], current: Reservation) -> Decision:
    """The goods of a reservation that nobody decided are available again. A decided one stays as it is."""
    if current.state != "reserved":
        return Decision(current)
    return Decision(replace(current, state="expired"), _given_back(current, stock))


def _given_back(current: Reservation, stock: Mapping[str, Stock]) -> Mapping[str, Stock]:
    lines = current.lines if current.state == "reserved" else ()
    return {
        product: Stock(stock[product].on_hand, stock[product].reserved - count) for product, count in lines
    }


def recount(on_hand: int, current: Stock | None) -> Stock:
    """The stock after counting the shelf. Raises StockConflictError when more is reserved than on hand."""
    reserved = current.reserved if current else 0
    if on_hand < reserved:
        message = f"{reserved} pieces are reserved: release them, or set at least as many"
        raise StockConflictError("stock_reserved", message)
    return Stock(on_hand, reserved)


SEED_STOCK: Mapping[str, int] = {
    "paper-wallet": 5000,
    "cold-wallet": 1000,
    "seed-plate": 1000,
    "signing-card": 2000,
    "validator-kit": 100,
    "genesis-print": 25,
}
"""The stock of a new shop, for the products that catalog seeds."""
