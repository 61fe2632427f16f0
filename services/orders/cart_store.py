"""Carts in orders' database, one for each user.

A cart that is checked out is marked with its order, and disappears in the transaction that confirms the
order. So a card that is declined leaves the cart as it was.
"""

from __future__ import annotations

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from meshwright.services.kit.database import Database
from meshwright.services.orders.domain import Cart, Order
from meshwright.services.orders.tables import carts


class CartStore:
    """The table of carts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, user_id: str) -> Cart:
        """A user's cart; an empty one if there is none."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(carts).where(carts.c.user_id == user_id))).first()
        if row is None:
            return Cart(user_id)
        items = tuple((product, quantity) for product, quantity in row._mapping["items"])
        return Cart(user_id, items, row.version, row.order_id or "")

    async def put(self, user_id: str, items: tuple[tuple[str, int], ...]) -> None:
        """Replace what is in a user's cart."""
        values = {"items": [[product, quantity] for product, quantity in items], "order_id": None}
        this = carts.c.user_id == user_id
        async with self._database.exclusive() as connection:
            changed = await connection.execute(
                update(carts).where(this).values(version=carts.c.version + 1, **values)
            )
            if changed.rowcount == 0:
                await connection.execute(insert(carts).values(user_id=user_id, version=1, **values))


async def mark(connection: AsyncConnection, cart: Cart, order_id: str) -> None:
    """Mark a cart with its order, unless it was changed since it was read."""
    this = (carts.c.user_id == cart.user_id) & (carts.c.version == cart.version)
    await connection.execute(update(carts).where(this).values(order_id=order_id))


async def remove_ordered(connection: AsyncConnection, order: Order) -> None:
    """Remove the cart that became an order, if it is still the same."""
    this = (carts.c.user_id == order.user_id) & (carts.c.order_id == order.id)
    await connection.execute(delete(carts).where(this))
