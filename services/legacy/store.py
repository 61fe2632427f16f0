"""Legacy's database: the quotes that dealers have set."""

from __future__ import annotations

from sqlalchemy import MetaData

from meshwright.services.kit.database import Database
from meshwright.services.kit.quote_table import QuoteTable
from meshwright.services.kit.quotes import DealerQuote, next_quote
from meshwright.services.legacy.domain import seed_quotes

TABLES = MetaData()
quotes = QuoteTable(TABLES)


class LegacyStore:
    """The quotes of all pairs. Replicas share them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def seed(self, now: int) -> None:
        """Store the first quotes if there are none."""
        async with self._database.exclusive() as connection:
            if not await quotes.page(connection, "", 1):
                await quotes.store_newer(connection, seed_quotes(now))

    async def get(self, symbol: str) -> DealerQuote | None:
        """A pair's quote."""
        async with self._database.read() as connection:
            return await quotes.get(connection, symbol)

    async def set(self, symbol: str, price: int, now: int) -> DealerQuote:
        """Give a pair its next quote."""
        async with self._database.exclusive() as connection:
            quote = next_quote(symbol, price, await quotes.get(connection, symbol), now)
            await quotes.store_newer(connection, [quote])
        return quote
