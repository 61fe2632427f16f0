"""Inventory's database of stock and reservations, shared by its replicas.

Each step is one transaction: lock, read, decide, write. SQLite locks the database when a writer begins. With
PostgreSQL a step locks the rows of its products in the order of their ids, so that two orders never deadlock;
of two replicas with the same order, the reservation's primary key rejects the second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    MetaData,
    String,
    Table,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from meshwright.services.inventory.domain import Decision, Reservation, Stock, expire, recount
from meshwright.services.kit.database import Database

TABLES = MetaData()
stock = Table(
    "stock",
    TABLES,
    Column("product_id", String(64), primary_key=True),
    Column("on_hand", BigInteger, nullable=False),
    Column("reserved", BigInteger, nullable=False),
    CheckConstraint("reserved >= 0 AND reserved <= on_hand", name="never_oversold"),
)
reservations = Table(
    "reservations",
    TABLES,
    Column("order_id", String(64), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("changed", BigInteger, nullable=False),
    Index("reservations_by_state", "state", "changed"),
)
lines = Table(
    "reservation_lines",
    TABLES,
    Column("order_id", ForeignKey("reservations.order_id"), primary_key=True),
    Column("product_id", String(64), primary_key=True),
    Column("quantity", BigInteger, nullable=False),
)

EXPIRED_AT_ONCE = 100
"""Reservations that one run expires."""

ReservationStep = Callable[[Mapping[str, Stock], Reservation | None], Decision]
"""Decides a step from the stock and the order's reservation."""


class StockStore:
    """Stock and reservations, changed one step at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def seed(self, initial: Mapping[str, int]) -> bool:
        """Insert the initial stock if there is none; returns whether it did."""
        async with self._database.exclusive() as connection:
            if (await connection.execute(select(stock.c.product_id).limit(1))).first():
                return False
            rows = [
                {"product_id": product, "on_hand": count, "reserved": 0} for product, count in initial.items()
            ]
            await connection.execute(insert(stock), rows)
            return True

    async def get(self, product_id: str) -> Stock | None:
        """The stock of a product."""
        async with self._database.read() as connection:
            return (await _read_stock(connection, [product_id], lock=False)).get(product_id)

    async def reservation(self, order_id: str) -> Reservation | None:
        """The reservation of an order."""
        async with self._database.read() as connection:
            return await _read_reservation(connection, order_id)

    async def set_stock(self, product_id: str, on_hand: int) -> Stock:
        """Set the pieces on hand. Raises domain.StockConflictError when more are reserved."""
        async with self._database.write() as connection:
            current = (await _read_stock(connection, [product_id], lock=True)).get(product_id)
            counted = recount(on_hand, current)
            if current:
                await _write_stock(connection, {product_id: counted})
            else:
                await connection.execute(
                    insert(stock).values(product_id=product_id, on_hand=on_hand, reserved=0)
                )
        return counted

    async def step(
        self, order_id: str, products: Iterable[str], decide: ReservationStep, now: int
    ) -> Reservation:
        """Run one step of an order's reservation; `now` in ms. A new reservation concerns `products`.

        Raises domain.StockConflictError. Decides again if another replica has just inserted it.
        """
        products = list(products)
        try:
            return await self._step(order_id, products, decide, now)
        except IntegrityError:
            return await self._step(order_id, products, decide, now)

    async def expire(self, before: int, now: int) -> int:
        """Expire reservations that have been undecided since before `before` (ms); returns how many, up to
        EXPIRED_AT_ONCE.
        """
        query = select(reservations.c.order_id).where(
            reservations.c.state == "reserved", reservations.c.changed < before
        )
        async with self._database.read() as connection:
            order_ids = list(await connection.scalars(query.limit(EXPIRED_AT_ONCE)))
        for order_id in order_ids:
            await self.step(order_id, (), _expire, now)
        return len(order_ids)

    async def _step(
        self, order_id: str, products: list[str], decide: ReservationStep, now: int
    ) -> Reservation:
        async with self._database.write() as connection:
            current = await _read_reservation(connection, order_id)
            concerned = [product for product, _ in current.lines] if current else products
            levels = await _read_stock(connection, concerned, lock=True)
            current = await _read_reservation(connection, order_id)  # read again once the rows are locked
            decision = decide(levels, current)
            if decision.reservation != current:
                await _write_stock(connection, decision.stock)
                await _write_reservation(connection, current, decision.reservation, now)
        return decision.reservation


def _expire(levels: Mapping[str, Stock], current: Reservation | None) -> Decision:
    if current is None:
        raise RuntimeError("a reservation that expires was deleted")
    return expire(levels, current)


async def _read_stock(
    connection: AsyncConnection, products: Iterable[str], *, lock: bool
) -> dict[str, Stock]:
    query = select(stock).where(stock.c.product_id.in_(sorted(products))).order_by(stock.c.product_id)
    rows = await connection.execute(query.with_for_update() if lock else query)
    return {row.product_id: Stock(row.on_hand, row.reserved) for row in rows}


async def _read_reservation(connection: AsyncConnection, order_id: str) -> Reservation | None:
    query = select(reservations).where(reservations.c.order_id == order_id)
    reservation = (await connection.execute(query)).first()
    if reservation is None:
        return None
    rows = await connection.execute(
        select(lines).where(lines.c.order_id == order_id).order_by(lines.c.product_id)
    )
    return Reservation(order_id, reservation.state, tuple((row.product_id, row.quantity) for row in rows))


async def _write_stock(connection: AsyncConnection, levels: Mapping[str, Stock]) -> None:
    for product, level in sorted(levels.items()):
        statement = update(stock).where(stock.c.product_id == product)
        await connection.execute(statement.values(on_hand=level.on_hand, reserved=level.reserved))


async def _write_reservation(
    connection: AsyncConnection, current: Reservation | None, updated: Reservation, now: int
) -> None:
    if current:
        statement = update(reservations).where(reservations.c.order_id == current.order_id)
        await connection.execute(statement.values(state=updated.state, changed=now))
        return
    order_id = updated.order_id
    await connection.execute(insert(reservations).values(order_id=order_id, state=updated.state, changed=now))
    rows = [
        {"order_id": order_id, "product_id": product, "quantity": count} for product, count in updated.lines
    ]
    if rows:
        await connection.execute(insert(lines), rows)
