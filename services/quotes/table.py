"""The table of dealers' quotes, which legacy and trading each have in their own database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Column, MetaData, String, Table, delete, insert, select
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from meshwright.services.quotes.quote import DealerQuote


class QuoteTable:
    """The latest quote of each pair. Whoever writes holds a transaction that excludes other writers."""

    def __init__(self, tables: MetaData) -> None:
        self.table = Table(
            "dealer_quotes",
            tables,
            Column("symbol", String(64), primary_key=True),
            Column("version", BigInteger, nullable=False),
            Column("price", BigInteger, nullable=False),
            Column("timestamp", BigInteger, nullable=False),
        )

    async def get(self, connection: AsyncConnection, symbol: str) -> DealerQuote | None:
        """A pair's quote."""
        row = (await connection.execute(select(self.table).where(self.table.c.symbol == symbol))).first()
        return _quote(row) if row else None

    async def page(self, connection: AsyncConnection, after: str, limit: int) -> list[DealerQuote]:
        """The next quotes after a symbol, ordered by symbol."""
        rest = select(self.table).where(self.table.c.symbol > after)
        rows = await connection.execute(rest.order_by(self.table.c.symbol).limit(limit))
        return [_quote(row) for row in rows]

    async def store_newer(self, connection: AsyncConnection, quotes: Sequence[DealerQuote]) -> int:
        """Store the quotes that are newer than those here; returns their number."""
        symbols = self.table.c.symbol.in_([quote.symbol for quote in quotes])
        rows = await connection.execute(select(self.table.c.symbol, self.table.c.version).where(symbols))
        versions = {row.symbol: row.version for row in rows}
        newer = [quote for quote in quotes if quote.version > versions.get(quote.symbol, 0)]
        if newer:
            replaced = self.table.c.symbol.in_([quote.symbol for quote in newer])
            await connection.execute(delete(self.table).where(replaced))
            await connection.execute(insert(self.table), [quote.model_dump() for quote in newer])
        return len(newer)


def _quote(row: Row[Any]) -> DealerQuote:
    return DealerQuote(symbol=row.symbol, version=row.version, price=row.price, timestamp=row.timestamp)
