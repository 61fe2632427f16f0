"""Catalog's database: products, and their categories."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    MetaData,
    String,
    Table,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.engine import Row
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from meshwright.services.catalog.domain import Category, Product, like_pattern
from meshwright.services.kit.database import Database

TABLES = MetaData()
categories = Table(
    "categories",
    TABLES,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
)
products = Table(
    "products",
    TABLES,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("description", String(2000), nullable=False),
    Column("price", BigInteger, nullable=False),
    Column("category", ForeignKey("categories.id"), index=True),
    Column("created", BigInteger, nullable=False),
    Index("products_by_age", "created", "id"),
)
_NEWEST_FIRST = (products.c.created.desc(), products.c.id)
_SEARCHED = (products.c.name, products.c.description)


class UnknownCategoryError(Exception):
    """A product's category does not exist."""


class ProductStore:
    """The table of products."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def seed(self, initial: Iterable[Product], groups: Iterable[Category]) -> bool:
        """Insert the initial products and categories if there are no products; returns whether it did."""
        async with self._database.exclusive() as connection:
            if (await connection.execute(select(products.c.id).limit(1))).first():
                return False
            await connection.execute(delete(categories))
            await connection.execute(insert(categories), [asdict(category) for category in groups])
            await connection.execute(insert(products), [asdict(product) for product in initial])
            return True

    async def search(
        self, text: str, category: str | None, limit: int, offset: int
    ) -> tuple[list[Product], int]:
        """A page of the products whose name or description contains `text`, by name, and their number; of
        one category if given.
        """
        page = select(products).order_by(products.c.name, products.c.id).limit(limit).offset(offset)
        count = select(func.count()).select_from(products)
        if text:
            pattern = like_pattern(text.lower())
            matches = or_(*(func.lower(column).like(pattern, escape="\\") for column in _SEARCHED))
            page, count = page.where(matches), count.where(matches)
        if category:
            page, count = (query.where(products.c.category == category) for query in (page, count))
        async with self._database.read() as connection:
            rows = await connection.execute(page)
            total = await connection.scalar(count)
            return [_product_from_row(row) for row in rows], total or 0

    async def recent(self, limit: int) -> list[Product]:
        """The newest products, newest first."""
        query = select(products).order_by(*_NEWEST_FIRST).limit(limit)
        async with self._database.read() as connection:
            return [_product_from_row(row) for row in await connection.execute(query)]

    async def get(self, product_id: str) -> Product | None:
        """One product."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(products).where(products.c.id == product_id))).first()
        return _product_from_row(row) if row else None

    async def add(self, product: Product) -> bool:
        """Add a product; False when its id exists. Raises UnknownCategoryError."""
        try:
            async with self._database.write() as connection:
                await _check_category(connection, product.category)
                await connection.execute(insert(products).values(asdict(product)))
        except IntegrityError:
            return False
        return True

    async def change(self, product_id: str, values: Mapping[str, Any]) -> bool:
        """Change columns of a product; False when there is no such product. Raises UnknownCategoryError."""
        async with self._database.write() as connection:
            await _check_category(connection, values["category"])
            result = await connection.execute(
                update(products).where(products.c.id == product_id).values(values)
            )
        return result.rowcount == 1

    async def remove(self, product_id: str) -> bool:
        """Delete a product; False when there is no such product."""
        async with self._database.write() as connection:
            result = await connection.execute(delete(products).where(products.c.id == product_id))
        return result.rowcount == 1


async def _check_category(connection: AsyncConnection, category: str | None) -> None:
    if category is not None:
        query = select(categories.c.id).where(categories.c.id == category).with_for_update()
        if (await connection.execute(query)).first() is None:
            raise UnknownCategoryError(category)


def _product_from_row(row: Row[Any]) -> Product:
    return Product(row.id, row.name, row.description, row.price, row.category, row.created)
