"""What orders, payments and inventory hold, read from their databases, and whether it agrees."""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import Any

from tests.services.processes import Shop, until

OUTCOMES = {
    ("confirmed", "charged", "committed"),
    *(
        ("cancelled", payment, reservation)
        for payment in (None, "declined", "refunded", "void")
        for reservation in (None, "rejected", "released")
    ),
}
"""Permitted (order, payment, reservation)."""


def query(shop: Shop, service: str, sql: str, *values: str) -> list[Any]:
    """Rows of a service's database."""
    connection = sqlite3.connect(shop.folder / "data" / f"{service}.db", timeout=60)
    try:
        return connection.execute(sql, values).fetchall()
    finally:
        connection.close()


def is_quiet(shop: Shop) -> bool:
    """Whether no saga has anything left to do."""
    return query(shop, "orders", "SELECT count(*) FROM sagas WHERE step != 'done'") == [(0,)]


async def settled(shop: Shop, stock: dict[str, int]) -> Counter[str]:
    """Wait until all sagas are done. Orders, money, events and the initial `stock` then agree; returns the
    number of orders by status.
    """
    await until(lambda: is_quiet(shop))
    payments = {
        row[0]: row[1:] for row in query(shop, "payments", "SELECT order_id, state, amount FROM payments")
    }
    reservations = dict(query(shop, "inventory", "SELECT order_id, state FROM reservations"))
    committed: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    for order_id, status, total in query(shop, "orders", "SELECT order_id, status, total FROM order_views"):
        payment, amount = payments.get(order_id, (None, 0))
        assert (status, payment, reservations.get(order_id)) in OUTCOMES, order_id
        statuses[status] += 1
        if status == "confirmed":
            assert amount == total
            lines = "SELECT product_id, quantity FROM reservation_lines WHERE order_id = ?"
            committed.update(dict(query(shop, "inventory", lines, order_id)))
    for product, on_hand in stock.items():
        levels = "SELECT on_hand, reserved FROM stock WHERE product_id = ?"
        level = query(shop, "inventory", levels, product)
        assert level == [(on_hand - committed[product], 0)], product
    ends = dict(query(shop, "orders", "SELECT name, count(*) FROM events WHERE version = 2 GROUP BY name"))
    assert ends == {f"Order{status.capitalize()}": count for status, count in statuses.items()}
    assert query(shop, "orders", "SELECT count(*) FROM sagas WHERE card_token != ''") == [(0,)]
    return statuses
