"""A service's database: SQLite in a file of its own by default, PostgreSQL by URL.

Replicas on one host share the SQLite file. What makes that safe: write-ahead log, writers that take the lock
when they begin (`BEGIN IMMEDIATE`; a transaction that reads first and writes later fails when another process
wrote in between, https://www.sqlite.org/isolation.html), one writing connection a process, and a file lock
around the making of tables.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData, event, make_url, select, text
from sqlalchemy.engine import Connection
from sqlalchemy.engine.url import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

BUSY_MS = 10_000
"""How long a writer waits for another process's lock before it gives up."""

_PREPARE_LOCK = 7_306_512
"""Any number that is the same everywhere: PostgreSQL's advisory lock around the making of tables."""

_LOCK = text("SELECT pg_advisory_xact_lock(:key)")


class Database:
    """Reading and writing transactions. Both engines are one with PostgreSQL."""

    def __init__(self, reader: AsyncEngine, writer: AsyncEngine, tables: MetaData) -> None:
        self._reader = reader
        self._writer = writer
        self._probe = select(1).select_from(tables.sorted_tables[0]).limit(1)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection that sees one consistent state and must not write."""
        async with self._reader.connect() as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction, committed at the end and rolled back by an exception."""
        async with self._writer.begin() as connection:
            yield connection

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[AsyncConnection]:
        """A transaction beside which no other replica has one of this kind, as for what only the first does.

        In SQLite every writing transaction is like that.
        """
        async with self.write() as connection:
            if connection.dialect.name == "postgresql":
                await connection.execute(_LOCK, {"key": _PREPARE_LOCK})
            yield connection

    async def check(self) -> None:
        """Raises when a table of the database cannot be read."""
        async with self.read() as connection:
            await connection.execute(self._probe)

    async def close(self) -> None:
        """Close all connections."""
        await self._reader.dispose()
        await self._writer.dispose()


async def open_database(service: str, url: str, data_dir: Path, tables: MetaData) -> Database:
    """Open the database of `service` and make the tables that are missing.

    `url` empty: `data_dir/service.db`. Raises sqlalchemy.exc.SQLAlchemyError when it cannot be opened.
    """
    if url and not url.startswith("sqlite"):
        engine = create_async_engine(_asyncpg(url), pool_pre_ping=True)
        database = Database(engine, engine, tables)
        async with database.write() as connection:
            await connection.execute(_LOCK, {"key": _PREPARE_LOCK})
            await connection.run_sync(tables.create_all)
        return database
    made = make_url(url).set(drivername="sqlite+aiosqlite") if url else _file_url(service, data_dir)
    path = Path(made.database or "")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(path.with_name(path.name + ".lock")):
        database = Database(_sqlite(made, "BEGIN", 5), _sqlite(made, "BEGIN IMMEDIATE", 1), tables)
        async with database.write() as connection:
            await connection.run_sync(tables.create_all)
    return database


def _file_url(service: str, data_dir: Path) -> URL:
    return URL.create("sqlite+aiosqlite", database=str(data_dir.absolute() / f"{service}.db"))


def _asyncpg(url: str) -> URL:
    return make_url(url).set(drivername="postgresql+asyncpg")


def _sqlite(url: URL, begin: str, connections: int) -> AsyncEngine:
    engine = create_async_engine(
        url, pool_size=connections, max_overflow=0, connect_args={"timeout": BUSY_MS / 1000}
    )

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver begins no transaction of its own; `start` does
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout = {BUSY_MS}",
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file; other processes that prepare the same database wait."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
