"""Analytics' database of bars, shared by its replicas.

A tick is stored when its sender has the response, and a transaction waits for the disk. So ticks that arrive
while others are written share the next transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
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


WaitingTick = tuple[PriceTick, "asyncio.Future[None]"]
"""A tick, and what tells its sender that it is stored."""


class BarStore:
    """The bars of all symbols."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[WaitingTick] = []
        self._writing = asyncio.Lock()

    async def add_tick(self, tick: PriceTick) -> None:
        """Add a tick to its bar. Raises TooManySymbolsError for a new symbol beyond the limit."""
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((tick, stored))
        async with self._writing:
            if not stored.done():
                batch, self._waiting = self._waiting, []
                await asyncio.shield(self._store(batch))  # also for a sender that has gone: others wait too
        await stored

    async def _store(self, batch: list[WaitingTick]) -> None:
        """Store ticks and tell their senders."""
        ticks = [tick for tick, _ in batch]
        failures: Mapping[str, Exception] = {}
        try:
            try:
                failures = await self._add(ticks)
            except IntegrityError:  # another replica has just inserted one of the bars
                failures = await self._add(ticks)
        except Exception as error:  # is the senders' to handle
            failures = dict.fromkeys((tick.symbol for tick in ticks), error)
        for tick, stored in batch:
            if stored.done():  # its sender has gone
                continue
            if failure := failures.get(tick.symbol):
                stored.set_exception(failure)
            else:
                stored.set_result(None)

    async def _add(self, ticks: Sequence[PriceTick]) -> Mapping[str, Exception]:
        """Add ticks to their bars, in one transaction. Returns the symbols for which there is no room."""
        by_bar: dict[tuple[str, int], list[PriceTick]] = {}
        for tick in ticks:
            by_bar.setdefault((tick.symbol, tick.minute), []).append(tick)
        failures: dict[str, Exception] = {}
        async with self._database.write() as connection:
            for (symbol, minute), added in sorted(by_bar.items()):  # in one order: no deadlock of replicas
                try:
                    await _add_to_bar(connection, symbol, minute, added)
                except TooManySymbolsError as error:
                    failures[symbol] = error
        return failures

    async def latest(self, symbol: str, limit: int) -> list[Bar]:
        """The latest bars of a symbol, oldest first."""
        query = select(bars).where(bars.c.symbol == symbol).order_by(bars.c.minute.desc()).limit(limit)
        async with self._database.read() as connection:
            return [_bar_from_row(row) for row in (await connection.execute(query)).all()][::-1]


async def _add_to_bar(
    connection: AsyncConnection, symbol: str, minute: int, ticks: Sequence[PriceTick]
) -> None:
    """Add a minute's ticks to its bar. Raises TooManySymbolsError."""
    same_bar = (bars.c.symbol == symbol) & (bars.c.minute == minute)
    row = (await connection.execute(select(bars).where(same_bar).with_for_update())).first()
    before = after = _bar_from_row(row) if row else None
    for tick in ticks:
        after = add_tick(after, tick)
    if after is None or after == before:
        return
    if before is None:
        await _make_room(connection, symbol)
        await connection.execute(insert(bars).values(_values(after)))
    else:
        await connection.execute(update(bars).where(same_bar).values(_values(after)))


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
