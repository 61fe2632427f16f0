"""Orders' database: event log, saga log, and the read model that follows the event log.

The event log is append-only. A writer names the version that it read; the primary key rejects the second of
two concurrent writers. The read model changes in the event's transaction, and `rebuild` recreates it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
    """Another writer appended an event to the order after it was read."""


class OrderStore:
    """The write side (`load`, `append`, `record_step`) and read side (`get`, `list_by_user`) of orders."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, order_id: str) -> tuple[Order | None, frozenset[SagaStep]]:
        """An order replayed from its log, and the completed steps of its saga."""
        async with self._database.read() as connection:
            rows = await connection.execute(_LOG.where(events.c.order_id == order_id))
            log = [_event_from_row(row) for row in rows]
            steps = await connection.scalars(
                select(saga_steps.c.step).where(saga_steps.c.order_id == order_id)
            )
            return replay(order_id, log), frozenset(steps)

    async def append(self, order_id: str, current: Order | None, event: OrderEvent, now: int) -> Order:
        """Append an event to the order as the writer read it; `now` in ms. Raises VersionConflictError."""
        order = apply(current, event, order_id)
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
        """Record a completed step of the saga. Idempotent."""
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
        """A user's newest orders from the read model, newest first."""
        newest = (views.c.created.desc(), views.c.order_id)
        async with self._database.read() as connection:
            rows = await connection.execute(
                select(views).where(views.c.user_id == user_id).order_by(*newest).limit(limit)
            )
            return [_order_from_view(row) for row in rows]

    async def is_stale(self) -> bool:
        """Whether the read model lacks events of the log (an order's version is the number of its events)."""
        async with self._database.read() as connection:
            logged = await connection.scalar(select(func.count()).select_from(events))
            projected = await connection.scalar(select(func.sum(views.c.version)))
        return (logged or 0) != (projected or 0)

    async def rebuild(self) -> int:
        """Recreate the read model from the event log in one transaction; returns the number of orders."""
        async with self._database.write() as connection:
            await connection.execute(delete(views))
            rows = (await connection.execute(_LOG)).all()
            for order, created in _replay_all(rows):
                await _project(connection, order, created)
            return len({row.order_id for row in rows})


def _replay_all(rows: Iterable[Row[Any]]) -> Iterator[tuple[Order, int]]:
    """Each order of the log with its time of creation."""
    for order_id, group in groupby(rows, key=lambda row: row.order_id):
        log = list(group)
        if order := replay(order_id, [_event_from_row(row) for row in log]):
            yield order, log[0].happened


def _event_from_row(row: Row[Any]) -> OrderEvent:
    return decode(row.name, row.data)


async def _project(connection: AsyncConnection, order: Order, now: int) -> None:
    """Update the read model to the order's newest version; `created` keeps its first value."""
    state = {"version": order.version, "status": order.status, "reason": order.reason}
    updated = await connection.execute(update(views).where(views.c.order_id == order.id).values(state))
    if updated.rowcount == 0:
        items = [[product, quantity] for product, quantity in order.items]
        fixed = {"order_id": order.id, "user_id": order.user_id, "created": now}
        await connection.execute(
            insert(views).values({**fixed, **state, "total": order.total, "items": items})
        )


def _order_from_view(row: Row[Any]) -> Order:
    items = tuple((product, quantity) for product, quantity in row.items)
    return Order(row.order_id, row.user_id, items, row.total, row.status, row.version, row.reason)
