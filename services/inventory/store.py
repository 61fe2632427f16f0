"""Stock and reservations in inventory's database, shared by its replicas.

Every step is one transaction: lock, read, decide, write. SQLite locks as a whole when a writer begins; with
PostgreSQL the rows of the products are locked in the order of their ids, so that two orders never wait for
each other, and an order that two replicas meet at once ends at the reservation's primary key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    MetaData,
    String,
    Table,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from meshwright.services.inventory.domain import Decision, Reservation, Stock, recount
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
)
lines = Table(
    "reservation_lines",
    TABLES,
    Column("order_id", ForeignKey("reservations.order_id"), primary_key=True),
    Column("product_id", String(64), primary_key=True),
    Column("quantity", BigInteger, nullable=False),
)

ReservationStep = Callable[[Mapping[str, Stock], Reservation | None], Decision]


class StockStore:
    """Stock and reservations, changed one step at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def seed(self, first: Mapping[str, int]) -> bool:
        """Fill the shelf if it is empty; whether it did."""
        async with self._database.exclusive() as connection:
            if (await connection.execute(select(stock.c.product_id).limit(1))).first():
                return False
            rows = [
                {"product_id": product, "on_hand": count, "reserved": 0} for product, count in first.items()
            ]
            await connection.execute(insert(stock), rows)
            return True

    async def get(self, product_id: str) -> Stock | None:
        """What there is of a product."""
        async with self._database.read() as connection:
            return (await _stock(connection, [product_id], lock=False)).get(product_id)

    async def reservation(self, order_id: str) -> Reservation | None:
        """What an order holds."""
        async with self._database.read() as connection:
            return await _reservation(connection, order_id)

    async def set_stock(self, product_id: str, on_hand: int) -> Stock:
        """Set what is on the shelf; raises domain.RefusedError when more is reserved."""
        async with self._database.write() as connection:
            known = (await _stock(connection, [product_id], lock=True)).get(product_id)
            counted = recount(on_hand, known)
            if known:
                await _write_stock(connection, {product_id: counted})
            else:
                await connection.execute(
                    insert(stock).values(product_id=product_id, on_hand=on_hand, reserved=0)
                )
        return counted

    async def step(
        self, order_id: str, products: Iterable[str], decide: ReservationStep, now: int
    ) -> Reservation:
        """Take one step of an order's reservation. `products`: those it is about, if it is new; `now` in ms.

        Raises domain.RefusedError. An order that another replica made meanwhile is decided anew.
        """
        wanted = list(products)
        try:
            return await self._step(order_id, wanted, decide, now)
        except IntegrityError:
            return await self._step(order_id, wanted, decide, now)

    async def _step(
        self, order_id: str, products: list[str], decide: ReservationStep, now: int
    ) -> Reservation:
        async with self._database.write() as connection:
            known = await _reservation(connection, order_id)
            held = [product for product, _ in known.lines] if known else products
            levels = await _stock(connection, held, lock=True)
            known = await _reservation(connection, order_id)  # as it is now that the rows are locked
            decision = decide(levels, known)
            if decision.reservation != known:
                await _write_stock(connection, decision.stock)
                await _write_reservation(connection, known, decision.reservation, now)
        return decision.reservation


async def _stock(connection: AsyncConnection, products: Iterable[str], *, lock: bool) -> dict[str, Stock]:
    query = select(stock).where(stock.c.product_id.in_(sorted(products))).order_by(stock.c.product_id)
    rows = await connection.execute(query.with_for_update() if lock else query)
    return {row.product_id: Stock(row.on_hand, row.reserved) for row in rows}


async def _reservation(connection: AsyncConnection, order_id: str) -> Reservation | None:
    head = (await connection.execute(select(reservations).where(reservations.c.order_id == order_id))).first()
    if head is None:
        return None
    found = await connection.execute(
        select(lines).where(lines.c.order_id == order_id).order_by(lines.c.product_id)
    )
    return Reservation(order_id, head.state, tuple((row.product_id, row.quantity) for row in found))


async def _write_stock(connection: AsyncConnection, changed: Mapping[str, Stock]) -> None:
    for product, level in sorted(changed.items()):
        row = update(stock).where(stock.c.product_id == product)
        await connection.execute(row.values(on_hand=level.on_hand, reserved=level.reserved))


async def _write_reservation(
    connection: AsyncConnection, known: Reservation | None, now_is: Reservation, now: int
) -> None:
    if known:
        row = update(reservations).where(reservations.c.order_id == known.order_id)
        await connection.execute(row.values(state=now_is.state, changed=now))
        return
    order_id = now_is.order_id
    await connection.execute(insert(reservations).values(order_id=order_id, state=now_is.state, changed=now))
    rows = [
        {"order_id": order_id, "product_id": product, "quantity": count} for product, count in now_is.lines
    ]
    if rows:
        await connection.execute(insert(lines), rows)
