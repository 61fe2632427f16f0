"""Commands for whoever moves the quotes to trading, on legacy's database: `migrate` and `compare`.

They ask, and the running replicas of legacy do the work: only these may call trading. A command that is
interrupted stops nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial

from meshwright.services.hosting import command
from meshwright.services.kit.database import Database
from meshwright.services.legacy.domain import MEANINGS, ComparisonReport, MigrationPhase, MigrationState
from meshwright.services.legacy.store import TABLES, LegacyStore

POLL_SECONDS = 0.2

EPILOG = f"""examples:
  python -m meshwright.services.legacy                       serve until SIGTERM
  python -m meshwright.services.legacy migrate               how far the quotes have moved to trading
  python -m meshwright.services.legacy migrate --phase 3     move on, or back, to phase 3
  python -m meshwright.services.legacy compare -o json       compare the quotes of both

phases:
{"".join(f"  {phase:d}  {meaning}{chr(10)}" for phase, meaning in MEANINGS.items())}
DATA_DIR and DATABASE_URL name the database, as for the service itself. Exit codes: 0 done, 1 failed or the
two sides differ, 4 not yet: a running replica goes on by itself."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line. `command` is None to serve."""
    parser = argparse.ArgumentParser(
        "python -m meshwright.services.legacy",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    migrate = commands.add_parser("migrate", help="show how far the quotes have moved, or move them")
    migrate.add_argument(
        "--phase",
        type=int,
        choices=[int(phase) for phase in MigrationPhase],
        help="move on, or back, to this phase",
    )
    compare = commands.add_parser("compare", help="compare the quotes of legacy and trading")
    for each in (migrate, compare):
        each.add_argument("-o", "--output", choices=("text", "json"), default="text")
        each.add_argument(
            "--timeout", type=float, default=60.0, metavar="SECONDS", help="how long to wait (60)"
        )
    return parser.parse_args(arguments)


def execute(options: argparse.Namespace) -> int:
    """Execute a command; returns the exit code."""
    try:
        return command.run("legacy", TABLES, partial(_execute, options))
    except KeyboardInterrupt:
        return 130


async def _execute(options: argparse.Namespace, database: Database) -> int:
    store = LegacyStore(database)
    if options.command == "compare":
        return await _compare(store, options)
    return await _migrate(store, options)


async def _migrate(store: LegacyStore, options: argparse.Namespace) -> int:
    state = await store.state()
    if options.phase is not None:
        await store.request(MigrationPhase(options.phase))
        state = await _wait(store, lambda state: state.phase == options.phase == state.target, options)
    if options.output == "json":
        names = ("phase", "target", "gate", "error")
        values = {name: value for name, value in asdict(state).items() if name in names}
        sys.stdout.write(json.dumps(values) + "\n")
    else:
        sys.stdout.write(f"phase {state.phase}, {MEANINGS[state.phase]}\n")
    if state.next_phase is None:
        return 0
    reason = state.error or "no reason is known: does an instance of legacy run?"
    sys.stderr.write(f"legacy: on the way to phase {state.target}: {reason}\n")
    return 4


async def _compare(store: LegacyStore, options: argparse.Namespace) -> int:
    number = (await store.request(None)).requested
    state = await _wait(store, lambda state: state.answered >= number, options)
    report = await store.report()
    if state.answered < number or report is None:
        reason = state.error or "no instance has taken it up: does legacy run?"
        sys.stderr.write(f"legacy: not compared yet: {reason}\n")
        return 4
    if options.output == "json":
        sys.stdout.write(report.model_dump_json(by_alias=True) + "\n")
    else:
        sys.stdout.write(report_text(report))
    return 0 if report.is_equal else 1


async def _wait(
    store: LegacyStore, is_done: Callable[[MigrationState], bool], options: argparse.Namespace
) -> MigrationState:
    """The state once it is done, or when the time is up. Phases on the way are shown on a terminal."""
    give_up_at = time.monotonic() + options.timeout
    shown: MigrationPhase | None = None
    while True:
        state = await store.state()
        if is_done(state) or time.monotonic() > give_up_at:
            return state
        if sys.stderr.isatty() and state.phase != shown:
            shown = state.phase
            sys.stderr.write(f"phase {state.phase}, {MEANINGS[state.phase]}\n")
        await asyncio.sleep(POLL_SECONDS)


def report_text(report: ComparisonReport) -> str:
    """A comparison as text."""
    if report.is_equal:
        return f"{report.compared} quotes compared, no difference\n"
    lines = [f"{report.compared} quotes compared:"]
    counts = report.model_dump(exclude={"compared", "examples"})
    lines += [f"  {count} {name.replace('_', ' ')}" for name, count in counts.items() if count]
    lines.append(f"{'PAIR':<16}  {'LEGACY':<24}  TRADING")
    for example in report.examples:
        legacy = _side(example.legacy_version, example.legacy_price)
        trading = _side(example.trading_version, example.trading_price)
        lines.append(f"{example.symbol:<16}  {legacy:<24}  {trading}")
    return "\n".join(lines) + "\n"


def _side(version: int | None, price: int | None) -> str:
    return "-" if version is None else f"version {version}: {price}"
