"""The command that counts all kept events again: `python -m meshwright.services.analytics replay`."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from redis.exceptions import RedisError

from meshwright.services.analytics.daily import FIGURES, GROUP
from meshwright.services.events.broker import connect
from meshwright.services.events.consumer import replay
from meshwright.services.kit.settings import SettingsError, read_settings

EPILOG = """examples:
  python -m meshwright.services.analytics           serve until SIGTERM
  python -m meshwright.services.analytics replay    count all kept events again; those counted are skipped

REDIS_URL names the broker, as for the service itself."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line. `command` is None to serve."""
    parser = argparse.ArgumentParser(
        "python -m meshwright.services.analytics",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("replay", help="count all kept events again")
    return parser.parse_args(arguments)


def execute() -> int:
    """Deliver all kept events again; returns the exit code."""
    try:
        count = asyncio.run(_replay())
    except (SettingsError, RedisError, OSError) as error:
        sys.stderr.write(f"analytics: {error}\n")
        return 1
    sys.stdout.write(f"{count} events are delivered to analytics again\n")
    return 0


async def _replay() -> int:
    settings = read_settings("analytics", os.environ, os.getpid())
    if not settings.broker_url:
        raise SettingsError("no broker: set REDIS_URL, as for the service")
    client = connect(settings.broker_url)
    try:
        return await replay(client, GROUP, list(FIGURES))
    finally:
        await client.aclose()
