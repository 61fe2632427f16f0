"""Catalog's categories in its database."""

from __future__ import annotations

from sqlalchemy import delete, func, insert, select, update

from meshwright.services.catalog.domain import Category
from meshwright.services.catalog.store import categories, products
from meshwright.services.kit.database import Database


class CategoryInUseError(Exception):
    """There are products in the category."""


class CategoryStore:
    """The table of categories."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self) -> list[tuple[Category, int]]:
        """All categories by name, each with the number of its products."""
        query = (
            select(categories, func.count(products.c.id).label("products"))
            .outerjoin(products)
            .group_by(categories.c.id, categories.c.name)
            .order_by(categories.c.name, categories.c.id)
        )
        async with self._database.read() as connection:
            rows = await connection.execute(query)
            return [(Category(row.id, row.name), row.products) for row in rows]

    async def put(self, category: Category) -> None:
        """Add a category, or rename it."""
        async with self._database.exclusive() as connection:
            renamed = await connection.execute(
                update(categories).where(categories.c.id == category.id).values(name=category.name)
            )
            if renamed.rowcount == 0:
                await connection.execute(insert(categories).values(id=category.id, name=category.name))

    async def remove(self, category_id: str) -> bool:
        """Remove a category; False when there is no such category. Raises CategoryInUseError."""
        this = categories.c.id == category_id
        async with self._database.write() as connection:
            if (
                await connection.execute(select(categories.c.id).where(this).with_for_update())
            ).first() is None:
                return False
            used = select(products.c.id).where(products.c.category == category_id).limit(1)
            if (await connection.execute(used)).first():
                raise CategoryInUseError(category_id)
            await connection.execute(delete(categories).where(this))
            return True
