"""Orders' database: the event log, the saga's log, and the read model that follows the event log.

The log is only ever added to. A writer says which version it saw; the primary key refuses the second of two
who saw the same. The read model changes in the transaction of the event, and `rebuild` makes it anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.engine import Row
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from meshwright.services.kit.database import Database
from meshwright.services.orders.domain import Order, OrderEvent, SagaStep, apply, decode, encode, replay

TABLES = MetaData()
events = Table(
    "events",
    TABLES,
    Column("order_id", String(64), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("name", String(64), nullable=False),
    Column("data", JSON, nullable=False),
    Column("happened", BigInteger, nullable=False),
)
saga_steps = Table(
    "saga_steps",
    TABLES,
    Column("order_id", String(64), primary_key=True),
    Column("step", String(32), primary_key=True),
    Column("done", BigInteger, nullable=False),
)
views = Table(
    "order_views",
    TABLES,
    Column("order_id", String(64), primary_key=True),
    Column("user_id", String(64), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    Column("reason", String(64), nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("items", JSON, nullable=False),
    Index("order_views_by_user", "user_id", "created"),
)
_LOG = select(events).order_by(events.c.order_id, events.c.version)


class VersionConflictError(Exception):
    """Somebody else added an event to the order after it was read."""


class OrderStore:
    """The write side (`load`, `append`, `finish`) and the read side (`get`, `of_user`) of orders."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, order_id: str) -> tuple[Order | None, frozenset[SagaStep]]:
        """An order by its log, and the saga's steps that are done."""
        async with self._database.read() as connection:
            log = [_event(row) for row in await connection.execute(_LOG.where(events.c.order_id == order_id))]
            steps = await connection.scalars(
                select(saga_steps.c.step).where(saga_steps.c.order_id == order_id)
            )
            return replay(order_id, log), frozenset(steps)

    async def append(self, order_id: str, known: Order | None, event: OrderEvent, now: int) -> Order:
        """Add an event to what the writer knows of the order; `now` in ms. Raises VersionConflict."""
        order = apply(known, event, order_id)
        name, data = encode(event)
        row = {"order_id": order_id, "version": order.version, "name": name, "data": data, "happened": now}
        try:
            async with self._database.write() as connection:
                await connection.execute(insert(events).values(row))
                await _project(connection, order, now)
        except IntegrityError:
            raise VersionConflictError(order_id) from None
        return order

    async def record_step(self, order_id: str, step: SagaStep, now: int) -> None:
        """Note that a step of the saga is done; noting it twice is the same."""
        row = {"order_id": order_id, "step": step, "done": now}
        try:
            async with self._database.write() as connection:
                await connection.execute(insert(saga_steps).values(row))
        except IntegrityError:
            return

    async def get(self, order_id: str) -> Order | None:
        """An order from the read model."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(views).where(views.c.order_id == order_id))).first()
        return _order_from_view(row) if row else None

    async def list_by_user(self, user_id: str, limit: int) -> list[Order]:
        """A user's newest orders, newest first, from the read model."""
        newest = (views.c.created.desc(), views.c.order_id)
        async with self._database.read() as connection:
            found = await connection.execute(
                select(views).where(views.c.user_id == user_id).order_by(*newest).limit(limit)
            )
            return [_order_from_view(row) for row in found]

    async def is_stale(self) -> bool:
        """Whether the read model lacks events of the log (an order's version is the number of its events)."""
        async with self._database.read() as connection:
            logged = await connection.scalar(select(func.count()).select_from(events))
            viewed = await connection.scalar(select(func.sum(views.c.version)))
        return (logged or 0) != (viewed or 0)

    async def rebuild(self) -> int:
        """Make the read model anew from the event log, in one transaction; how many orders there are."""
        async with self._database.write() as connection:
            await connection.execute(delete(views))
            rows = (await connection.execute(_LOG)).all()
            for order, created in _orders(rows):
                await _project(connection, order, created)
            return len({row.order_id for row in rows})


def _orders(rows: Any) -> Iterator[tuple[Order, int]]:
    for order_id, log in groupby(rows, key=lambda row: row.order_id):
        known = list(log)
        if order := replay(order_id, [_event(row) for row in known]):
            yield order, known[0].happened


def _event(row: Row[Any]) -> OrderEvent:
    return decode(row.name, row.data)


async def _project(connection: AsyncConnection, order: Order, now: int) -> None:
    """Bring the read model up to an order's newest version; `created` stays what it was at first."""
    state = {"version": order.version, "status": order.status, "reason": order.reason}
    changed = await connection.execute(update(views).where(views.c.order_id == order.id).values(state))
    if changed.rowcount == 0:
        fixed = {"order_id": order.id, "user_id": order.user_id, "created": now}
        lines = [[product, quantity] for product, quantity in order.items]
        await connection.execute(
            insert(views).values({**fixed, **state, "total": order.total, "items": lines})
        )


def _order_from_view(row: Row[Any]) -> Order:
    items = tuple((product, quantity) for product, quantity in row.items)
    return Order(row.order_id, row.user_id, items, row.total, row.status, row.version, row.reason)
