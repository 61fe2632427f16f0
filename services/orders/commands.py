"""Commands for whoever operates orders, on its database: `rebuild` and `sagas`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from functools import partial

from meshwright.services.hosting import command
from meshwright.services.kit.database import Database
from meshwright.services.orders.saga import Saga
from meshwright.services.orders.store import OrderStore
from meshwright.services.orders.tables import TABLES

LISTED = 100
"""Sagas that `sagas` lists."""

EPILOG = """examples:
  python -m meshwright.services.orders                       serve until SIGTERM
  python -m meshwright.services.orders rebuild               recreate the read model from the event log
  python -m meshwright.services.orders sagas                 unfinished sagas, the most stuck first
  python -m meshwright.services.orders sagas --retry ORDER   try one again now

DATA_DIR and DATABASE_URL name the database, as for the service itself."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line. `command` is None to serve."""
    parser = argparse.ArgumentParser(
        "python -m meshwright.services.orders",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("rebuild", help="recreate the read model from the event log")
    sagas = commands.add_parser("sagas", help="list unfinished sagas, or try one again now")
    sagas.add_argument("--retry", metavar="ORDER", help="make this order's saga due at once")
    return parser.parse_args(arguments)


def execute(options: argparse.Namespace) -> int:
    """Execute a command; returns the exit code."""
    return command.run("orders", TABLES, partial(_execute, options))


async def _execute(options: argparse.Namespace, database: Database) -> int:
    store = OrderStore(database)
    if options.command == "rebuild":
        sys.stdout.write(f"read model rebuilt: {await store.rebuild()} orders\n")
        return 0
    if options.retry:
        return await _retry(store, options.retry)
    sys.stdout.write(saga_table(await store.unfinished(LISTED), _now()))
    return 0


async def _retry(store: OrderStore, order_id: str) -> int:
    if await store.retry(order_id, _now()):
        sys.stdout.write(f"the saga of order {order_id} is due now: a running instance of orders tries it\n")
        return 0
    sys.stderr.write(f"orders: order {order_id} has no unfinished saga: list them without --retry\n")
    return 1


def saga_table(sagas: Sequence[Saga], now: int) -> str:
    """Unfinished sagas as text."""
    if not sagas:
        return "no unfinished sagas\n"
    header = f"{'ORDER':<36}  {'STEP':<8} {'FAILED':>6}  {'NEXT TRY':<8}  {'':<5}  LAST ERROR\n"
    return header + "".join(_row(saga, now) for saga in sagas)


def _row(saga: Saga, now: int) -> str:
    due = f"in {(saga.due - now) / 1000:.0f} s" if saga.due > now else "now"
    stuck = "stuck" if saga.is_stuck else ""
    return (
        f"{saga.order_id:<36}  {saga.step:<8} {saga.attempts:>6}  {due:<8}  {stuck:<5}  {saga.error}".rstrip()
        + "\n"
    )


def _now() -> int:
    return time.time_ns() // 1_000_000
