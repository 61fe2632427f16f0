"""Legacy's database: the quotes that dealers have set, and how far they have moved to trading.

Each change looks at the state of the migration in its own transaction, which excludes others: so a phase
begins for all replicas at the same moment.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from meshwright.services.kit.database import Database
from meshwright.services.legacy.domain import (
    ComparisonReport,
    Gate,
    MigrationPhase,
    MigrationState,
    seed_quotes,
)
from meshwright.services.quotes.quote import DealerQuote, next_quote
from meshwright.services.quotes.table import QuoteTable

TABLES = MetaData()
quotes = QuoteTable(TABLES)
uncopied = Table("uncopied_quotes", TABLES, Column("symbol", String(64), primary_key=True))
migration = Table(
    "migration",
    TABLES,
    Column("phase", Integer, nullable=False),
    Column("target", Integer, nullable=False),
    Column("gate", String(16), nullable=False),
    Column("cursor", String(64), nullable=False),
    Column("error", String(500), nullable=False),
    Column("requested", Integer, nullable=False),
    Column("answered", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("report", JSON, nullable=True),
    Column("holder", String(255), nullable=False),
    Column("held_until", BigInteger, nullable=False),
)
"""One row, once a phase was asked for. The replica `holder` works on it until `held_until`, in milliseconds
since the epoch."""


class FrozenError(Exception):
    """The owner of the quotes is changing: new ones have to wait."""


class TradingOwnsError(Exception):
    """Trading takes new quotes."""


class LegacyStore:
    """The quotes of all pairs and the state of their migration. Replicas share them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def seed(self, now: int) -> None:
        """Store the first quotes, unless there are some or trading has them."""
        async with self._database.exclusive() as connection:
            state = await _read(connection)
            if not state.trading_owns and not await quotes.page(connection, "", 1):
                await quotes.store_newer(connection, seed_quotes(now))
                await _queue(connection, state, [quote.symbol for quote in seed_quotes(now)])

    async def get(self, symbol: str) -> tuple[DealerQuote | None, MigrationState]:
        """A pair's quote, and where to look for it."""
        async with self._database.read() as connection:
            return await quotes.get(connection, symbol), await _read(connection)

    async def page(self, after: str, limit: int) -> list[DealerQuote]:
        """The next quotes after a symbol, ordered by symbol."""
        async with self._database.read() as connection:
            return await quotes.page(connection, after, limit)

    async def set(self, symbol: str, price: int, now: int) -> tuple[DealerQuote, bool]:
        """Give a pair its next quote; returns it and whether it goes to trading too.

        Raises FrozenError and TradingOwnsError.
        """
        async with self._database.exclusive() as connection:
            state = await _read(connection)
            if state.gate != "open":
                raise FrozenError
            if state.trading_owns:
                raise TradingOwnsError
            quote = next_quote(symbol, price, await quotes.get(connection, symbol), now)
            await quotes.store_newer(connection, [quote])
            await _queue(connection, state, [symbol])
        return quote, state.copies_writes

    async def keep(self, copies: Sequence[DealerQuote]) -> None:
        """Store what trading has taken, while legacy keeps copies and where they are newer."""
        async with self._database.exclusive() as connection:
            if (await _read(connection)).keeps_copies:
                await quotes.store_newer(connection, copies)

    async def uncopied(self, limit: int) -> list[DealerQuote]:
        """Quotes that trading does not have yet."""
        async with self._database.read() as connection:
            symbols = select(uncopied.c.symbol).order_by(uncopied.c.symbol).limit(limit)
            listed = [quote_symbol for (quote_symbol,) in await connection.execute(symbols)]
            rows = [await quotes.get(connection, symbol) for symbol in listed]
        return [quote for quote in rows if quote]

    async def copied(self, copies: Sequence[DealerQuote]) -> None:
        """Note that trading has these quotes. A pair that has a newer one by now stays uncopied."""
        async with self._database.exclusive() as connection:
            latest = [await quotes.get(connection, quote.symbol) for quote in copies]
            done = [quote.symbol for quote in latest if quote and quote in copies]
            await connection.execute(delete(uncopied).where(uncopied.c.symbol.in_(done)))

    async def state(self) -> MigrationState:
        """The state of the migration."""
        async with self._database.read() as connection:
            return await _read(connection)

    async def claim(self, holder: str, now: int, until: int) -> bool:
        """Whether `holder` may work on the migration `until` then: nobody else does."""
        async with self._database.exclusive() as connection:
            free = (migration.c.holder == holder) | (migration.c.held_until < now)
            claimed = update(migration).where(free).values(holder=holder, held_until=until)
            return (await connection.execute(claimed)).rowcount == 1

    async def request(self, target: MigrationPhase | None) -> MigrationState:
        """Ask for a phase, or with None for a comparison; returns the state after it."""
        async with self._database.exclusive() as connection:
            state = await _read(connection)
            if target is None:
                state = replace(state, requested=state.requested + 1)
            elif target != state.target:
                state = replace(state, target=target, cursor="", error="", step=state.step + 1)
            await _write(connection, state)
        return state

    async def note(self, error: str) -> None:
        """Store why the next phase has to wait."""
        async with self._database.exclusive() as connection:
            await _write(connection, replace(await _read(connection), error=error[:500]))

    async def answer(self, number: int, report: ComparisonReport) -> None:
        """Store the report of a comparison, and up to which request it answers."""
        async with self._database.exclusive() as connection:
            await _write(connection, replace(await _read(connection), answered=number))
            await connection.execute(update(migration).values(report=report.model_dump(mode="json")))

    async def report(self) -> ComparisonReport | None:
        """The newest report of a comparison."""
        async with self._database.read() as connection:
            text = await connection.scalar(select(migration.c.report))
        return ComparisonReport.model_validate(text) if text else None

    async def advance(self, before: MigrationState, phase: MigrationPhase) -> bool:
        """Enter a phase and open the gate; returns whether it did."""
        async with self._unchanged(before) as (connection, state):
            if state is None:
                return False
            if phase == MigrationPhase.LEGACY_ONLY:
                await connection.execute(delete(uncopied))
            if phase == MigrationPhase.CLEANUP:
                await connection.execute(delete(quotes.table))
            entered = replace(state, phase=phase, gate="open", cursor="", error="", step=state.step + 1)
            await _write(connection, entered)
        return True

    async def set_gate(self, before: MigrationState, gate: Gate) -> None:
        """Change the gate. The owner changes only with no quote left to copy."""
        async with self._unchanged(before) as (connection, state):
            if state is None:
                return
            if gate == "committing" and (await connection.execute(select(uncopied).limit(1))).first():
                return
            await _write(connection, replace(state, gate=gate, step=state.step + 1))

    async def queue_all(self, before: MigrationState, cursor: str) -> None:
        """Queue every quote for trading."""
        async with self._unchanged(before) as (connection, state):
            if state is not None:
                every = select(quotes.table.c.symbol)
                await connection.execute(delete(uncopied))
                await connection.execute(insert(uncopied).from_select(["symbol"], every))
                await _write(connection, replace(state, cursor=cursor))

    async def take_back(self, before: MigrationState, page: Sequence[DealerQuote], cursor: str) -> None:
        """Store a page of trading's quotes, and up to which symbol they are here."""
        async with self._unchanged(before) as (connection, state):
            if state is not None:
                await quotes.store_newer(connection, page)
                await _write(connection, replace(state, cursor=cursor))

    @asynccontextmanager
    async def _unchanged(
        self, before: MigrationState
    ) -> AsyncIterator[tuple[AsyncConnection, MigrationState | None]]:
        """A transaction and the state; None if phase, target or gate have changed since `before`.

        So a replica that stood still while another went on changes nothing.
        """
        async with self._database.exclusive() as connection:
            state = await _read(connection)
            yield connection, state if state.step == before.step else None


async def _queue(connection: AsyncConnection, state: MigrationState, symbols: Sequence[str]) -> None:
    if state.copies_writes:
        await connection.execute(delete(uncopied).where(uncopied.c.symbol.in_(symbols)))
        await connection.execute(insert(uncopied), [{"symbol": symbol} for symbol in symbols])


async def _read(connection: AsyncConnection) -> MigrationState:
    row = (await connection.execute(select(migration))).first()
    if row is None:
        return MigrationState()
    return MigrationState(
        phase=MigrationPhase(row.phase),
        target=MigrationPhase(row.target),
        gate=row.gate,
        cursor=row.cursor,
        error=row.error,
        requested=row.requested,
        answered=row.answered,
        step=row.step,
    )


async def _write(connection: AsyncConnection, state: MigrationState) -> None:
    values = {
        "phase": int(state.phase),
        "target": int(state.target),
        "gate": state.gate,
        "cursor": state.cursor,
        "error": state.error,
        "requested": state.requested,
        "answered": state.answered,
        "step": state.step,
    }
    if (await connection.execute(update(migration).values(**values))).rowcount == 0:
        await connection.execute(insert(migration).values(**values, holder="", held_until=0))
