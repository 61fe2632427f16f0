"""Stock and reservations: pure rules by which stock is never oversold and every step may be repeated.

A reservation belongs to one order and is decided once: `reserved` or, for want of stock, `rejected`. A
reserved one is `committed` (the goods leave) or `released` (they are free again). Releasing a reservation
never seen leaves a tombstone, so that a late reserve of a cancelled order finds nothing to take.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

ReservationState = Literal["reserved", "rejected", "committed", "released"]
MAX_QUANTITY = 1_000_000
MAX_STOCK = 10**12


class StockConflictError(Exception):
    """A step that the reservation's state does not allow; `code` is for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Stock:
    """Pieces of one product: how many are there, and how many of them are spoken for."""

    on_hand: int
    reserved: int = 0

    @property
    def available(self) -> int:
        """What may still be reserved."""
        return self.on_hand - self.reserved


@dataclass(frozen=True, slots=True)
class Reservation:
    """What one order holds. `lines`: (product, quantity) sorted by product, one line a product."""

    order_id: str
    state: ReservationState
    lines: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """What a step makes of things: the reservation as it is now, and the stock that changed."""

    reservation: Reservation
    stock: Mapping[str, Stock] = field(default_factory=dict)


def merge_items(items: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """One line a product, sorted, so that equal wishes are equal and locks are taken in one order."""
    wanted: dict[str, int] = {}
    for product, quantity in items:
        wanted[product] = wanted.get(product, 0) + quantity
    return tuple(sorted(wanted.items()))


def reserve(
    order_id: str, lines: tuple[tuple[str, int], ...], stock: Mapping[str, Stock], known: Reservation | None
) -> Decision:
    """Take all lines or none. What was decided before stands; raises RefusedError when it was about other
    lines, or was released.
    """
    if known is not None:
        if known.state == "released":
            raise StockConflictError(
                "reservation_released", f"the reservation of order {order_id} was released"
            )
        if known.lines != lines:
            raise StockConflictError(
                "reservation_differs", f"order {order_id} has a reservation of other items"
            )
        return Decision(known)
    if any(product not in stock or stock[product].available < quantity for product, quantity in lines):
        return Decision(Reservation(order_id, "rejected", lines))
    taken = {
        product: Stock(stock[product].on_hand, stock[product].reserved + count) for product, count in lines
    }
    return Decision(Reservation(order_id, "reserved", lines), taken)


def commit(order_id: str, stock: Mapping[str, Stock], known: Reservation | None) -> Decision:
    """The goods leave. Repeating it changes nothing; raises RefusedError unless they are reserved."""
    if known is None or known.state in ("rejected", "released"):
        state = known.state if known else "unknown"
        raise StockConflictError(
            "not_reserved", f"order {order_id} holds nothing to commit: its reservation is {state}"
        )
    if known.state == "committed":
        return Decision(known)
    left = {
        product: Stock(stock[product].on_hand - count, stock[product].reserved - count)
        for product, count in known.lines
    }
    return Decision(Reservation(order_id, "committed", known.lines), left)


def release(order_id: str, stock: Mapping[str, Stock], known: Reservation | None) -> Decision:
    """The goods are free again. Repeating it changes nothing; raises RefusedError once they have left."""
    if known is None:
        return Decision(Reservation(order_id, "released", ()))
    if known.state == "committed":
        raise StockConflictError("already_committed", f"order {order_id} is committed: its goods have left")
    if known.state == "released":
        return Decision(known)
    held = known.lines if known.state == "reserved" else ()
    freed = {
        product: Stock(stock[product].on_hand, stock[product].reserved - count) for product, count in held
    }
    return Decision(Reservation(order_id, "released", known.lines), freed)


def recount(on_hand: int, known: Stock | None) -> Stock:
    """Stock after counting the shelf; raises RefusedError when more is reserved than was found."""
    reserved = known.reserved if known else 0
    if on_hand < reserved:
        raise StockConflictError(
            "stock_reserved", f"{reserved} pieces are reserved: release them or count at least as many"
        )
    return Stock(on_hand, reserved)


SEED_STOCK: Mapping[str, int] = {
    "paper-wallet": 5000,
    "cold-wallet": 1000,
    "seed-plate": 1000,
    "signing-card": 2000,
    "validator-kit": 100,
    "genesis-print": 25,
}
"""Pieces on the shelf when the exchange opens, by the catalog's first products."""
