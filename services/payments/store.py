"""Payments' database, shared by its replicas. Each step is one transaction: lock, read, decide, write.

Of two replicas with the same order, the payment's primary key rejects the second, which then decides again.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import BigInteger, Column, MetaData, String, Table, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from meshwright.services.kit.database import Database
from meshwright.services.payments.domain import Payment

TABLES = MetaData()
payments = Table(
    "payments",
    TABLES,
    Column("order_id", String(64), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("key", String(255), nullable=False),
    Column("changed", BigInteger, nullable=False),
)

PaymentStep = Callable[[Payment | None], Payment]
"""Decides a step from the order's payment."""


class PaymentStore:
    """Payments, changed one step at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, order_id: str) -> Payment | None:
        """The payment of an order."""
        async with self._database.read() as connection:
            return await _read(connection, order_id, lock=False)

    async def step(self, order_id: str, decide: PaymentStep, now: int) -> Payment:
        """Run one step of an order's payment; `now` in ms. Raises domain.PaymentConflictError."""
        try:
            return await self._step(order_id, decide, now)
        except IntegrityError:
            return await self._step(order_id, decide, now)

    async def _step(self, order_id: str, decide: PaymentStep, now: int) -> Payment:
        async with self._database.write() as connection:
            current = await _read(connection, order_id, lock=True)
            decided = decide(current)
            if decided == current:
                return decided
            values = {"state": decided.state, "amount": decided.amount, "key": decided.key, "changed": now}
            if current is None:
                await connection.execute(insert(payments).values(order_id=order_id, **values))
            else:
                changed = update(payments).where(payments.c.order_id == order_id)
                await connection.execute(changed.values(**values))
            return decided


async def _read(connection: AsyncConnection, order_id: str, *, lock: bool) -> Payment | None:
    query = select(payments).where(payments.c.order_id == order_id)
    row = (await connection.execute(query.with_for_update() if lock else query)).first()
    return Payment(row.order_id, row.state, row.amount, row.key) if row else None
