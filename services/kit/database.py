"""A service's database: SQLite in its own file by default, PostgreSQL by URL.

Replicas on one host share the SQLite file. Four things make that safe: the write-ahead log; writers that lock
when they begin (`BEGIN IMMEDIATE`, because a transaction that reads first and writes later fails when another
process wrote in between, https://www.sqlite.org/isolation.html); one writing connection per process; a file
lock around the creation of tables.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData, event, make_url, select, text
from sqlalchemy.engine import Connection
from sqlalchemy.engine.url import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from meshwright.services.kit.spans import client_span, record_statements

BUSY_MS = 10_000
"""Milliseconds that a writer waits for another process's lock."""

_LOCK_KEY = 7_306_512
"""Key of the PostgreSQL advisory lock around the creation of tables. Any number, the same in all replicas."""

_LOCK = text("SELECT pg_advisory_xact_lock(:key)")


class Database:
    """Read and write transactions. With PostgreSQL, reader and writer are the same engine."""

    def __init__(self, reader: AsyncEngine, writer: AsyncEngine, tables: MetaData) -> None:
        self._reader = reader
        self._writer = writer
        for engine in {reader, writer}:
            record_statements(engine)
        self._probe = select(1).select_from(tables.sorted_tables[0]).limit(1)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A read-only connection with a consistent snapshot."""
        with self._span("read"):
            async with self._reader.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction, committed at the end or rolled back by an exception."""
        with self._span("write"):
            async with self._writer.begin() as connection:
                yield connection

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that excludes other replicas' exclusive ones, for work that only the first must do.

        With SQLite every write transaction is exclusive.
        """
        async with self.write() as connection:
            if connection.dialect.name == "postgresql":
                await connection.execute(_LOCK, {"key": _LOCK_KEY})
            yield connection

    def _span(self, operation: str) -> AbstractContextManager[None]:
        attributes = {"db.system.name": self._writer.dialect.name, "db.operation.name": operation}
        return client_span(f"database {operation}", attributes)

    async def check(self) -> None:
        """Raise when the database cannot be read."""
        async with self.read() as connection:
            await connection.execute(self._probe)

    async def close(self) -> None:
        """Close all connections."""
        await self._reader.dispose()
        await self._writer.dispose()


async def open_database(service: str, url: str, data_dir: Path, tables: MetaData) -> Database:
    """Open the database of `service` and create missing tables. An empty `url` means `data_dir/service.db`.

    Raises sqlalchemy.exc.SQLAlchemyError when it cannot be opened.
    """
    if url and not url.startswith("sqlite"):
        engine = create_async_engine(_asyncpg_url(url), pool_pre_ping=True)
        database = Database(engine, engine, tables)
        async with database.write() as connection:
            await connection.execute(_LOCK, {"key": _LOCK_KEY})
            await connection.run_sync(tables.create_all)
        return database
    sqlite = make_url(url).set(drivername="sqlite+aiosqlite") if url else _file_url(service, data_dir)
    path = Path(sqlite.database or "")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _file_lock(path.with_name(path.name + ".lock")):
        database = Database(
            _sqlite_engine(sqlite, "BEGIN", 5), _sqlite_engine(sqlite, "BEGIN IMMEDIATE", 1), tables
        )
        async with database.write() as connection:
            await connection.run_sync(tables.create_all)
    return database


def _file_url(service: str, data_dir: Path) -> URL:
    return URL.create("sqlite+aiosqlite", database=str(data_dir.absolute() / f"{service}.db"))


def _asyncpg_url(url: str) -> URL:
    return make_url(url).set(drivername="postgresql+asyncpg")


def _sqlite_engine(url: URL, begin: str, connections: int) -> AsyncEngine:
    engine = create_async_engine(
        url, pool_size=connections, max_overflow=0, connect_args={"timeout": BUSY_MS / 1000}
    )

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # `start_transaction` begins transactions, not the driver
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
    def start_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    """Hold an exclusive file lock; other processes that prepare the same database wait."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
