"""Charges and refunds. Each order has one payment, and each step can be repeated. Pure.

A payment is `charged` or `declined`, once. A charged one becomes `refunded`. Refunding an order without a
payment leaves a `void` one, a tombstone: a request to charge that arrives late gets nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

PaymentState = Literal["charged", "declined", "refunded", "void"]

MAX_AMOUNT = 10**18
"""Minor units."""

DECLINED_SUFFIX, SLOW_SUFFIX = "-declined", "-slow"
"""Endings of a card token that stand for a card's behaviour: there is no bank behind this service."""

SLOW_SECONDS = 3.0
"""Seconds that a slow card takes."""


class PaymentConflictError(Exception):
    """A step that the state of a payment does not allow. `code` is for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Payment:
    """The payment of one order. `key` is the Idempotency-Key of its charge; `amount` is in minor units."""

    order_id: str
    state: PaymentState
    amount: int = 0
    key: str = ""


def charge(order_id: str, amount: int, key: str, card_token: str, current: Payment | None) -> Payment:
    """The payment after a request to charge. An earlier decision for the same key and amount stands.

    Raises PaymentConflictError when the order was refunded, or has a payment by another key or amount.
    """
    if current is None:
        declined = card_token.endswith(DECLINED_SUFFIX)
        return Payment(order_id, "declined" if declined else "charged", amount, key)
    if current.state in ("refunded", "void"):
        raise PaymentConflictError("payment_refunded", f"the payment of order {order_id} was refunded")
    if (current.key, current.amount) != (key, amount):
        message = f"order {order_id} has a payment with another Idempotency-Key or amount"
        raise PaymentConflictError("payment_differs", message)
    return current


def refund(order_id: str, current: Payment | None) -> Payment:
    """The payment after a refund. Idempotent; leaves a tombstone if there was no charge."""
    if current is None:
        return Payment(order_id, "void")
    return replace(current, state="refunded") if current.state == "charged" else current
