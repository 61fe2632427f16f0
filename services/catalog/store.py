"""Catalog's database of products."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
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

from meshwright.services.catalog.domain import Product, like_pattern
from meshwright.services.kit.database import Database

TABLES = MetaData()
products = Table(
    "products",
    TABLES,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("description", String(2000), nullable=False),
    Column("price", BigInteger, nullable=False),
    Column("created", BigInteger, nullable=False),
    Index("products_by_age", "created", "id"),
)
_NEWEST_FIRST = (products.c.created.desc(), products.c.id)
_SEARCHED = (products.c.name, products.c.description)


class ProductStore:
    """The table of products."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def seed(self, initial: Iterable[Product]) -> bool:
        """Insert the initial products if there are none; returns whether it did."""
        async with self._database.exclusive() as connection:
            if (await connection.execute(select(products.c.id).limit(1))).first():
                return False
            await connection.execute(insert(products), [asdict(product) for product in initial])
            return True

    async def search(self, text: str, limit: int, offset: int) -> tuple[list[Product], int]:
        """A page of the products whose name or description contains `text`, by name, and their number."""
        page = select(products).order_by(products.c.name, products.c.id).limit(limit).offset(offset)
        count = select(func.count()).select_from(products)
        if text:
            pattern = like_pattern(text.lower())
            matches = or_(*(func.lower(column).like(pattern, escape="\\") for column in _SEARCHED))
            page, count = page.where(matches), count.where(matches)
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
        """Add a product; False when its id exists."""
        try:
            async with self._database.write() as connection:
                await connection.execute(insert(products).values(asdict(product)))
        except IntegrityError:
            return False
        return True

    async def change(self, product_id: str, name: str, description: str, price: int) -> bool:
        """Replace the fields that can be changed; False when there is no such product."""
        statement = (
            update(products)
            .where(products.c.id == product_id)
            .values(name=name, description=description, price=price)
        )
        async with self._database.write() as connection:
            result = await connection.execute(statement)
        return result.rowcount == 1

    async def remove(self, product_id: str) -> bool:
        """Delete a product; False when there is no such product."""
        async with self._database.write() as connection:
            result = await connection.execute(delete(products).where(products.c.id == product_id))
        return result.rowcount == 1


def _product_from_row(row: Row[Any]) -> Product:
    return Product(row.id, row.name, row.description, row.price, row.created)
