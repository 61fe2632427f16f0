"""Runs a command of a service on the service's own database, for a person at a terminal."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable

from sqlalchemy import MetaData

from meshwright.services.kit.database import Database, open_database
from meshwright.services.kit.operations import DatabaseUnavailableError
from meshwright.services.kit.settings import SettingsError, read_settings

Command = Callable[[Database], Awaitable[int]]
"""What to do with the database; returns the exit code."""


def run(service: str, tables: MetaData, command: Command) -> int:
    """The exit code of a command: 1 with one line on stderr if the database cannot be used."""
    try:
        return asyncio.run(_on_database(service, tables, command))
    except (SettingsError, DatabaseUnavailableError, OSError) as error:
        sys.stderr.write(f"{service}: {error}\n")
        return 1


async def _on_database(service: str, tables: MetaData, command: Command) -> int:
    settings = read_settings(service, os.environ, os.getpid())
    database = await open_database(service, settings.database_url, settings.data_dir, tables)
    try:
        return await command(database)
    finally:
        await database.close()
