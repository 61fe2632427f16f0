"""Analytics' database of bars, shared by its replicas. Each tick is one transaction."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    MetaData,
    String,
    Table,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.engine import Row
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from meshwright.services.analytics.domain import MAX_BARS, MAX_SYMBOLS, Bar, PriceTick, add_tick
from meshwright.services.kit.database import Database

TABLES = MetaData()
bars = Table(
    "bars",
    TABLES,
    Column("symbol", String(64), primary_key=True),
    Column("minute", BigInteger, primary_key=True),
    Column("opened", BigInteger, nullable=False),
    Column("open", Float(53), nullable=False),
    Column("high", Float(53), nullable=False),
    Column("low", Float(53), nullable=False),
    Column("close", Float(53), nullable=False),
    Column("closed", BigInteger, nullable=False),
)


class TooManySymbolsError(Exception):
    """The limit of symbols is reached."""


class BarStore:
    """The bars of all symbols."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_tick(self, tick: PriceTick) -> Bar:
        """Add a tick to its bar. Raises TooManySymbolsError for a new symbol beyond the limit."""
        try:
            return await self._add_tick(tick)
        except IntegrityError:  # another replica has just inserted the bar
            return await self._add_tick(tick)

    async def _add_tick(self, tick: PriceTick) -> Bar:
        same_bar = (bars.c.symbol == tick.symbol) & (bars.c.minute == tick.minute)
        async with self._database.write() as connection:
            row = (await connection.execute(select(bars).where(same_bar).with_for_update())).first()
            before = _bar_from_row(row) if row else None
            after = add_tick(before, tick)
            if before is None:
                await _make_room(connection, tick.symbol)
                await connection.execute(insert(bars).values(_values(after)))
            elif after != before:
                await connection.execute(update(bars).where(same_bar).values(_values(after)))
        return after

    async def latest(self, symbol: str, limit: int) -> list[Bar]:
        """The latest bars of a symbol, oldest first."""
        query = select(bars).where(bars.c.symbol == symbol).order_by(bars.c.minute.desc()).limit(limit)
        async with self._database.read() as connection:
            return [_bar_from_row(row) for row in (await connection.execute(query)).all()][::-1]


async def _make_room(connection: AsyncConnection, symbol: str) -> None:
    """Delete the bars that would exceed the limit with one more of `symbol`."""
    same_symbol = bars.c.symbol == symbol
    if (await connection.execute(select(bars.c.minute).where(same_symbol).limit(1))).first() is None:
        symbols = await connection.scalar(select(func.count(bars.c.symbol.distinct())))
        if (symbols or 0) >= MAX_SYMBOLS:
            raise TooManySymbolsError
        return
    newest_first = select(bars.c.minute).where(same_symbol).order_by(bars.c.minute.desc())
    oldest_to_keep = await connection.scalar(newest_first.offset(MAX_BARS - 2).limit(1))
    if oldest_to_keep is not None:
        await connection.execute(delete(bars).where(same_symbol & (bars.c.minute < oldest_to_keep)))


def _values(bar: Bar) -> dict[str, Any]:
    return {
        "symbol": bar.symbol,
        "minute": bar.minute,
        "opened": bar.opened[0],
        "open": bar.opened[1],
        "high": bar.high,
        "low": bar.low,
        "close": bar.closed[1],
        "closed": bar.closed[0],
    }


def _bar_from_row(row: Row[Any]) -> Bar:
    return Bar(row.symbol, row.minute, (row.opened, row.open), row.high, row.low, (row.closed, row.close))
