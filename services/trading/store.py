"""Trading's database of ticks. The replicas share it: whichever comes first generates the next tick."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from sqlalchemy import BigInteger, Column, MetaData, String, Table, delete, insert, select
from sqlalchemy.engine import Row
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from meshwright.services.kit.database import Database
from meshwright.services.trading.domain import MAX_TICKS, Tick

TABLES = MetaData()
ticks = Table(
    "ticks",
    TABLES,
    Column("symbol", String(64), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("price", BigInteger, nullable=False),
    Column("timestamp", BigInteger, nullable=False),
)

NextTick = Callable[[str, Tick | None], Tick | None]
"""The tick after a symbol's last one; None when it is not due yet."""


class TickStore:
    """The latest ticks of every symbol."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def quote(self, symbol: str) -> Tick | None:
        """A symbol's latest tick."""
        async with self._database.read() as connection:
            return await _last_tick(connection, symbol)

    async def advance(self, symbols: Iterable[str], next_tick: NextTick) -> list[Tick]:
        """Add the next tick of each symbol in one transaction; none when another replica was first."""
        try:
            async with self._database.write() as connection:
                added = [
                    tick
                    for symbol in symbols
                    if (tick := next_tick(symbol, await _last_tick(connection, symbol))) is not None
                ]
                if added:
                    await connection.execute(insert(ticks), [asdict(tick) for tick in added])
                for tick in added:
                    old = (ticks.c.symbol == tick.symbol) & (ticks.c.number <= tick.number - MAX_TICKS)
                    await connection.execute(delete(ticks).where(old))
        except IntegrityError:
            return []
        return added


async def _last_tick(connection: AsyncConnection, symbol: str) -> Tick | None:
    latest = select(ticks).where(ticks.c.symbol == symbol).order_by(ticks.c.number.desc()).limit(1)
    row: Row[Any] | None = (await connection.execute(latest)).first()
    return Tick(row.symbol, row.number, row.price, row.timestamp) if row else None
