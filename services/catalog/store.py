"""Products in the catalog's database."""

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
_NEWEST = (products.c.created.desc(), products.c.id)


class ProductStore:
    """The catalog's table of products."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def seed(self, first: Iterable[Product]) -> bool:
        """Put in the first products if there is none; whether it did."""
        async with self._database.exclusive() as connection:
            if (await connection.execute(select(products.c.id).limit(1))).first():
                return False
            await connection.execute(insert(products), [asdict(product) for product in first])
            return True

    async def search(self, words: str, limit: int, offset: int) -> tuple[list[Product], int]:
        """A page of the products whose name or description has `words`, by name; and how many there are."""
        pattern = like_pattern(words.lower())
        found = or_(*(func.lower(column).like(pattern, escape="\\") for column in _TEXTS)) if words else None
        page = select(products).order_by(products.c.name, products.c.id).limit(limit).offset(offset)
        count = select(func.count()).select_from(products)
        async with self._database.read() as connection:
            rows = await connection.execute(page if found is None else page.where(found))
            total = await connection.scalar(count if found is None else count.where(found))
            return [_product(row) for row in rows], total or 0

    async def recent(self, limit: int) -> list[Product]:
        """The newest products, newest first."""
        async with self._database.read() as connection:
            return [
                _product(row)
                for row in await connection.execute(select(products).order_by(*_NEWEST).limit(limit))
            ]

    async def get(self, product_id: str) -> Product | None:
        """One product."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(products).where(products.c.id == product_id))).first()
        return _product(row) if row else None

    async def add(self, product: Product) -> bool:
        """Add a product; False when its id is taken."""
        try:
            async with self._database.write() as connection:
                await connection.execute(insert(products).values(asdict(product)))
        except IntegrityError:
            return False
        return True

    async def change(self, product_id: str, name: str, description: str, price: int) -> bool:
        """Replace what may change; False when there is no such product."""
        changed = update(products).where(products.c.id == product_id)
        async with self._database.write() as connection:
            result = await connection.execute(changed.values(name=name, description=description, price=price))
        return result.rowcount == 1

    async def remove(self, product_id: str) -> bool:
        """Delete a product; False when there is none."""
        async with self._database.write() as connection:
            result = await connection.execute(delete(products).where(products.c.id == product_id))
        return result.rowcount == 1


_TEXTS = (products.c.name, products.c.description)


def _product(row: Row[Any]) -> Product:
    return Product(row.id, row.name, row.description, row.price, row.created)
