"""Bars in analytics' database, shared by its replicas; each tick is one transaction."""

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
    """There are as many symbols as are kept."""


class BarStore:
    """The bars of all symbols."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_tick(self, tick: PriceTick) -> Bar:
        """Join a tick to its bar; raises FullError for a new symbol where none has room."""
        try:
            return await self._add(tick)
        except IntegrityError:  # another replica made the bar meanwhile
            return await self._add(tick)

    async def _add(self, tick: PriceTick) -> Bar:
        here = (bars.c.symbol == tick.symbol) & (bars.c.minute == tick.minute)
        async with self._database.write() as connection:
            row = (await connection.execute(select(bars).where(here).with_for_update())).first()
            known = _bar(row) if row else None
            bar = add_tick(known, tick)
            if known is None:
                await _make_room(connection, tick.symbol)
                await connection.execute(insert(bars).values(_values(bar)))
            elif bar != known:
                await connection.execute(update(bars).where(here).values(_values(bar)))
        return bar

    async def latest(self, symbol: str, limit: int) -> list[Bar]:
        """The newest bars of a symbol, oldest of them first."""
        wanted = select(bars).where(bars.c.symbol == symbol).order_by(bars.c.minute.desc()).limit(limit)
        async with self._database.read() as connection:
            return [_bar(row) for row in (await connection.execute(wanted)).all()][::-1]


async def _make_room(connection: AsyncConnection, symbol: str) -> None:
    """Let go of the bars that are too many with one more of `symbol`."""
    mine = bars.c.symbol == symbol
    if (await connection.execute(select(bars.c.minute).where(mine).limit(1))).first() is None:
        symbols = await connection.scalar(select(func.count(bars.c.symbol.distinct())))
        if (symbols or 0) >= MAX_SYMBOLS:
            raise TooManySymbolsError
        return
    newest = select(bars.c.minute).where(mine).order_by(bars.c.minute.desc())
    last_kept = await connection.scalar(newest.offset(MAX_BARS - 2).limit(1))
    if last_kept is not None:
        await connection.execute(delete(bars).where(mine & (bars.c.minute < last_kept)))


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


def _bar(row: Row[Any]) -> Bar:
    return Bar(row.symbol, row.minute, (row.opened, row.open), row.high, row.low, (row.closed, row.close))
