"""The command that makes the first admin: `python -m meshwright.services.users admin EMAIL`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial

from meshwright.services.hosting import command
from meshwright.services.kit.database import Database
from meshwright.services.users.domain import normal_email
from meshwright.services.users.store import TABLES, UserStore

EPILOG = """examples:
  python -m meshwright.services.users                          serve until SIGTERM
  python -m meshwright.services.users admin ada@example.com    make a person who has signed up an admin

DATA_DIR and DATABASE_URL name the database, as for the service itself."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line. `command` is None to serve."""
    parser = argparse.ArgumentParser(
        "python -m meshwright.services.users",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    admin = commands.add_parser("admin", help="make a person who has signed up an admin")
    admin.add_argument("email", metavar="EMAIL")
    return parser.parse_args(arguments)


def execute(options: argparse.Namespace) -> int:
    """Execute a command; returns the exit code."""
    return command.run("users", TABLES, partial(_make_admin, options.email))


async def _make_admin(email: str, database: Database) -> int:
    store = UserStore(database)
    if not (user_and_hash := await store.find(normal_email(email))):
        sys.stderr.write(f"users: nobody has signed up with {email}: sign up first\n")
        return 1
    await store.set_role(user_and_hash[0].id, "admin", granted=True)
    sys.stdout.write(f"{email} is an admin from the next login or refresh on\n")
    return 0
