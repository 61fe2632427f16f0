"""What orders, payments and inventory hold, read from their databases, and whether it agrees."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any, Protocol

from redis.asyncio import Redis

from tests.services.processes import until


class Exchange(Protocol):
    """Services whose databases are in `folder`/data."""

    @property
    def folder(self) -> Path:
        """The folder of all that they keep."""


OUTCOMES = {
    ("confirmed", "charged", "committed"),
    *(
        ("cancelled", payment, reservation)
        for payment in (None, "declined", "refunded", "void")
        for reservation in (None, "rejected", "released")
    ),
}
"""Permitted (order, payment, reservation)."""


def query(exchange: Exchange, service: str, sql: str, *values: str) -> list[Any]:
    """Rows of a service's database."""
    connection = sqlite3.connect(exchange.folder / "data" / f"{service}.db", timeout=60)
    try:
        return connection.execute(sql, values).fetchall()
    finally:
        connection.close()


def is_quiet(exchange: Exchange) -> bool:
    """Whether no saga has anything left to do."""
    return query(exchange, "orders", "SELECT count(*) FROM sagas WHERE step != 'done'") == [(0,)]


async def settled(exchange: Exchange, stock: dict[str, int]) -> Counter[str]:
    """Wait until all sagas are done. Orders, money, events and the initial `stock` then agree; returns the
    number of orders by status.
    """
    await until(lambda: is_quiet(exchange))
    payments = {
        row[0]: row[1:] for row in query(exchange, "payments", "SELECT order_id, state, amount FROM payments")
    }
    reservations = dict(query(exchange, "inventory", "SELECT order_id, state FROM reservations"))
    committed: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    for order_id, status, total in query(
        exchange, "orders", "SELECT order_id, status, total FROM order_views"
    ):
        payment, amount = payments.get(order_id, (None, 0))
        assert (status, payment, reservations.get(order_id)) in OUTCOMES, order_id
        statuses[status] += 1
        if status == "confirmed":
            assert amount == total
            lines = "SELECT product_id, quantity FROM reservation_lines WHERE order_id = ?"
            committed.update(dict(query(exchange, "inventory", lines, order_id)))
    for product, on_hand in stock.items():
        levels = "SELECT on_hand, reserved FROM stock WHERE product_id = ?"
        level = query(exchange, "inventory", levels, product)
        assert level == [(on_hand - committed[product], 0)], product
    ends = dict(
        query(exchange, "orders", "SELECT name, count(*) FROM events WHERE version = 2 GROUP BY name")
    )
    assert ends == {f"Order{status.capitalize()}": count for status, count in statuses.items()}
    assert query(exchange, "orders", "SELECT count(*) FROM sagas WHERE card_token != ''") == [(0,)]
    return statuses


async def published(exchange: Exchange, redis: Redis) -> None:
    """Wait until all that happened to orders is published; the streams then hold exactly that, if some of it
    more than once.
    """
    await until(lambda: query(exchange, "orders", "SELECT count(*) FROM outbox") == [(0,)])
    happened = {
        (name, f"{order_id}:{version}")
        for name, order_id, version in query(exchange, "orders", "SELECT name, order_id, version FROM events")
    }
    streamed: set[tuple[str, str]] = set()
    for name in ("OrderCreated", "OrderConfirmed", "OrderCancelled"):
        entries: Any = await redis.xrange(f"order.{name.removeprefix('Order').lower()}")
        streamed |= {(name, fields["id"]) for _, fields in entries}
    assert streamed == happened
