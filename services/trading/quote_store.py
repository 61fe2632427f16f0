"""Trading's database of dealers' quotes: copies of legacy's until trading owns them.

Only the owner gives a pair its next version. Both sides agree on the owner, so no version is given twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sqlalchemy import Column, String, Table, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from meshwright.services.kit.database import Database
from meshwright.services.quotes.quote import DealerQuote, next_quote
from meshwright.services.quotes.table import QuoteTable
from meshwright.services.trading.store import TABLES

Owner = Literal["legacy", "trading"]

quotes = QuoteTable(TABLES)
owners = Table("quote_owner", TABLES, Column("owner", String(16), primary_key=True))


class OwnerError(Exception):
    """The quotes have another owner. `owner` is who has them."""

    def __init__(self, owner: Owner) -> None:
        super().__init__(f"{owner} owns the quotes of dealers")
        self.owner = owner


class QuoteStore:
    """The quotes of all pairs. Replicas share them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, symbol: str) -> DealerQuote | None:
        """A pair's quote."""
        async with self._database.read() as connection:
            return await quotes.get(connection, symbol)

    async def page(self, after: str, limit: int) -> list[DealerQuote]:
        """The next quotes after a symbol, ordered by symbol."""
        async with self._database.read() as connection:
            return await quotes.page(connection, after, limit)

    async def set(self, symbol: str, price: int, now: int) -> DealerQuote:
        """Give a pair its next quote. Raises OwnerError unless trading owns the quotes."""
        async with self._database.exclusive() as connection:
            await _check_owner(connection, "trading")
            quote = next_quote(symbol, price, await quotes.get(connection, symbol), now)
            await quotes.store_newer(connection, [quote])
        return quote

    async def copy(self, copies: Sequence[DealerQuote]) -> int:
        """Store what is newer than here; returns their number. Raises OwnerError unless legacy owns them."""
        async with self._database.exclusive() as connection:
            await _check_owner(connection, "legacy")
            return await quotes.store_newer(connection, copies)

    async def hand_over(self, owner: Owner) -> None:
        """Make `owner` the owner. Once this returns, no other is in the middle of a change."""
        async with self._database.exclusive() as connection:
            await connection.execute(delete(owners))
            await connection.execute(insert(owners).values(owner=owner))


async def _check_owner(connection: AsyncConnection, needed: Owner) -> None:
    owner: Owner = await connection.scalar(select(owners.c.owner)) or "legacy"
    if owner != needed:
        raise OwnerError(owner)
