"""Orders' database: event log, sagas, and the read model that follows the event log.

The event log is append-only. A writer names the version that it read; the primary key rejects the second of
two concurrent writers. The read model changes in the event's transaction, and `rebuild` recreates it. A saga
changes in the transaction of its order's event too, and only from the version that was read. So does the
outbox, from which events reach other services.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import groupby
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.engine import Row
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from meshwright.services.events.outbox import add_event, add_job
from meshwright.services.kit.database import Database
from meshwright.services.orders import cart_store
from meshwright.services.orders.domain import (
    NOTIFICATIONS,
    Cart,
    Order,
    OrderConfirmed,
    OrderCreated,
    OrderEvent,
    apply,
    decode,
    encode,
    published,
    replay,
)
from meshwright.services.orders.saga import STUCK_ATTEMPTS, Saga
from meshwright.services.orders.tables import events, outbox, saga_log, sagas, views

_LOG = select(events).order_by(events.c.order_id, events.c.version)
_SAGA_FIELDS = [field.name for field in fields(Saga) if field.name != "order_id"]


@dataclass(frozen=True, slots=True)
class SagaStep:
    """An attempt at a saga's step: the saga before and after, how it went, the order's new event, its job."""

    before: Saga
    after: Saga
    outcome: str
    event: OrderEvent | None = None
    job: Mapping[str, str] | None = None


class VersionConflictError(Exception):
    """Another writer changed the order or its saga after it was read."""


class OrderStore:
    """The write side (`load`, `create`, `append`, `save`), the sagas that are due, and the read side."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, order_id: str) -> tuple[Order | None, Saga | None]:
        """An order replayed from its log, and its saga."""
        async with self._database.read() as connection:
            rows = await connection.execute(_LOG.where(events.c.order_id == order_id))
            order = replay(order_id, [_event_from_row(row) for row in rows])
            row = (await connection.execute(select(sagas).where(sagas.c.order_id == order_id))).first()
        return order, _saga_from_row(row) if row else None

    async def create(self, event: OrderCreated, saga: Saga, now: int, cart: Cart | None = None) -> Order:
        """Create an order with its saga, of a cart if given; `now` in ms.

        Raises VersionConflictError if it exists.
        """
        try:
            async with self._database.write() as connection:
                order = await _append(connection, saga.order_id, None, event, now)
                await connection.execute(insert(sagas).values(order_id=saga.order_id, **_saga_values(saga)))
                if cart is not None:
                    await cart_store.mark(connection, cart, saga.order_id)
        except IntegrityError:
            raise VersionConflictError(saga.order_id) from None
        return order

    async def append(self, order: Order, event: OrderEvent, now: int) -> Order:
        """Append an event to the order as the writer read it. Raises VersionConflictError."""
        try:
            async with self._database.write() as connection:
                return await _append(connection, order.id, order, event, now)
        except IntegrityError:
            raise VersionConflictError(order.id) from None

    async def save(self, step: SagaStep, order: Order, now: int) -> Order:
        """Store a step of a saga, with its order's event. Raises VersionConflictError."""
        before, after = step.before, step.after
        log = {"version": before.version, "step": before.step, "outcome": step.outcome, "happened": now}
        try:
            async with self._database.write() as connection:
                await _change_saga(connection, before, after)
                await connection.execute(insert(saga_log).values(order_id=order.id, **log))
                if step.job is not None:
                    await add_job(connection, outbox, NOTIFICATIONS, step.job)
                if step.event is None:
                    return order
                return await _append(connection, order.id, order, step.event, now)
        except IntegrityError:
            raise VersionConflictError(order.id) from None

    async def claim(self, now: int, until: int, limit: int) -> list[str]:
        """The orders of sagas that are due at `now`; no other replica gets them before `until`."""
        query = select(sagas).where(sagas.c.due <= now).order_by(sagas.c.due).limit(limit)
        async with self._database.read() as connection:
            due_sagas = [_saga_from_row(row) for row in await connection.execute(query)]
        claimed = []
        for saga in due_sagas:
            try:
                async with self._database.write() as connection:
                    await _change_saga(connection, saga, replace(saga, due=until, version=saga.version + 1))
            except VersionConflictError:
                continue
            claimed.append(saga.order_id)
        return claimed

    async def unfinished(self, limit: int) -> list[Saga]:
        """Sagas that are not done, those with the most failed attempts first."""
        query = select(sagas).where(sagas.c.due.is_not(None)).order_by(sagas.c.attempts.desc(), sagas.c.due)
        async with self._database.read() as connection:
            return [_saga_from_row(row) for row in await connection.execute(query.limit(limit))]

    async def stuck(self) -> int:
        """The number of sagas whose step has failed again and again."""
        query = select(func.count()).select_from(sagas)
        query = query.where(sagas.c.due.is_not(None), sagas.c.attempts >= STUCK_ATTEMPTS)
        async with self._database.read() as connection:
            return await connection.scalar(query) or 0

    async def retry(self, order_id: str, now: int) -> bool:
        """Make an unfinished saga due at once; returns whether there is one."""
        statement = update(sagas).where(sagas.c.order_id == order_id, sagas.c.due.is_not(None))
        async with self._database.write() as connection:
            return (await connection.execute(statement.values(due=now))).rowcount > 0

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


def _saga_values(saga: Saga) -> dict[str, Any]:
    values = {name: getattr(saga, name) for name in _SAGA_FIELDS}
    return {**values, "due": None if saga.step == "done" else saga.due}


def _saga_from_row(row: Row[Any]) -> Saga:
    values = {name: getattr(row, name) for name in _SAGA_FIELDS}
    return Saga(order_id=row.order_id, **{**values, "due": row.due or 0})


async def _change_saga(connection: AsyncConnection, before: Saga, after: Saga) -> None:
    """Raises VersionConflictError unless the saga still has the version of `before`."""
    current = (sagas.c.order_id == before.order_id) & (sagas.c.version == before.version)
    changed = await connection.execute(update(sagas).where(current).values(_saga_values(after)))
    if changed.rowcount == 0:
        raise VersionConflictError(before.order_id)


async def _append(
    connection: AsyncConnection, order_id: str, current: Order | None, event: OrderEvent, now: int
) -> Order:
    order = apply(current, event, order_id)
    name, data = encode(event)
    row = {"order_id": order_id, "version": order.version, "name": name, "data": data, "happened": now}
    await connection.execute(insert(events).values(row))
    await _project(connection, order, now)
    await add_event(connection, outbox, published(order, event, now))
    if isinstance(event, OrderConfirmed):
        await cart_store.remove_ordered(connection, order)
    return order


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
