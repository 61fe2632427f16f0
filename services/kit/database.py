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
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from opentelemetry import trace
from sqlalchemy import MetaData, event, make_url, select, text
from sqlalchemy.engine import Connection
from sqlalchemy.engine.url import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from meshwright.services.kit.operations import DatabaseUnavailableError
from meshwright.services.kit.spans import client_span

BUSY_MS = 10_000
"""Milliseconds that a writer waits for another process's lock."""

MAX_STATEMENT = 500
"""Characters of a statement in a span. Its values are placeholders."""

_LOCK_KEY = 7_306_512
"""Key of the PostgreSQL advisory lock around the creation of tables. Any number, the same in all replicas."""

_LOCK = text("SELECT pg_advisory_xact_lock(:key)")


class Database:
    """Read and write transactions. With PostgreSQL, reader and writer are the same engine.

    They raise DatabaseUnavailableError when the database does not respond.
    """

    def __init__(self, reader: AsyncEngine, writer: AsyncEngine, tables: MetaData) -> None:
        self._reader = reader
        self._writer = writer
        for engine in {reader, writer}:
            _record_statements(engine)
        self._probe = select(1).select_from(tables.sorted_tables[0]).limit(1)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A read-only connection with a consistent snapshot."""
        with self._transaction("read"):
            async with self._reader.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction, committed at the end or rolled back by an exception."""
        with self._transaction("write"):
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

    @contextmanager
    def _transaction(self, operation: str) -> Iterator[None]:
        """A span, and one error for all ways in which a database does not respond."""
        attributes = {"db.system.name": self._writer.dialect.name, "db.operation.name": operation}
        with client_span(f"database {operation}", attributes):
            try:
                yield
            except (OperationalError, InterfaceError, PoolTimeout) as error:
                raise DatabaseUnavailableError(str(error)) from error
            except DBAPIError as error:
                if error.connection_invalidated:  # as when a PostgreSQL server shuts down
                    raise DatabaseUnavailableError(str(error)) from error
                raise

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

    Raises DatabaseUnavailableError when it does not respond, and OSError for a folder that cannot be written.
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


def _record_statements(engine: AsyncEngine) -> None:
    """Add each statement of `engine`, without its values, to the span of its transaction."""

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def add(_: Any, __: Any, statement: str, *___: Any) -> None:
        span = trace.get_current_span()
        if span.is_recording():
            span.add_event("statement", {"db.query.text": " ".join(statement.split())[:MAX_STATEMENT]})


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
