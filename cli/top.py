"""`mesh top`: how every service does, live."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import console, screen, top_table
from cli.connection import ask
from cli.options import Output, OutputOption, StateOption
from control_plane.api import operations
from control_plane.api.failures import ApiError, UnreachableError

PATIENCE = 5.0
"""Seconds that an answer may take on the live screen, which does not move meanwhile."""

ONCE_WIDTH, ONCE_HEIGHT = 120, 1_000_000
"""Of a table that is printed where there is no terminal."""

LEGEND = "q quits   ● good  ◐ partly  ✖ failing  ○ nothing is known"


def top(
    once: Annotated[bool, typer.Option("--once", help="Print one table and exit.")] = False,
    every: Annotated[
        float, typer.Option("--interval", "-n", min=0.5, max=3600, help="Seconds between two looks.")
    ] = 2.0,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Show how every service does, live, what is bad first: all calls to it over the last 10 seconds.

    A gateway counts the calls that it makes. RATE/S is answered requests (TCP: connections), SUCCESS those
    that did not fail, latencies are of whole requests with their retries, BREAKER the worst towards it with
    the number of instances left out, UP healthy instances of all. q or Ctrl-C ends it. Where standard output
    is no terminal, and with -o json or yaml, it shows all once.

    \b
    Signs: ● good · ◐ partly · ✖ failing · ○ nothing is known

    \b
    Example:
      mesh top
      mesh top --once
      mesh top -o json | jq '.services[] | select(.health != "healthy").name'
    """
    found = ask(operations.services(), state)
    if output is not Output.table:
        console.data(found, output)
    elif once or not screen.is_usable():
        width = screen.size()[0] if screen.is_usable() else ONCE_WIDTH
        for line in top_table.lines(found["services"], width, ONCE_HEIGHT):
            console.emit(console.painted(line))
    else:
        try:
            _live(found, every, state)
        except KeyboardInterrupt:
            raise typer.Exit from None


@dataclass(frozen=True, slots=True)
class Look:
    """What is known: the last answer, when it came (seconds since the epoch), why there is no newer one."""

    found: Mapping[str, Any]
    at: float
    away: str = ""


def _live(found: Mapping[str, Any], every: float, state: Path | None) -> None:
    look = Look(found, time.time())
    with screen.alternate() as shown:
        while True:
            shown.draw([console.painted(line) for line in frame(look, *screen.size())])
            due = time.monotonic() + every
            while key := shown.wait(due - time.monotonic()):
                if key[0] in "qQ":
                    return
                shown.draw([console.painted(line) for line in frame(look, *screen.size())])
            look = _look(look, state)


def _look(last: Look, state: Path | None) -> Look:
    """A new look; raises ApiError when the control plane refuses to answer."""
    try:
        return Look(ask(replace(operations.services(), timeout=PATIENCE), state), time.time())
    except UnreachableError as error:
        return replace(last, away=str(error))
    except ApiError as error:
        if error.status < 500:
            raise
        return replace(last, away=str(error))


def frame(look: Look, width: int, height: int) -> list[str]:
    """The whole screen: what the mesh does in a line, the table, the legend."""
    rows = look.found["services"]
    table = top_table.lines(rows, width, height - 3)
    lines = [_summary(look, rows), "", *table]
    lines += [""] * (height - len(lines) - 1) + [LEGEND]
    return [line[:width] for line in lines][:height]


def _summary(look: Look, rows: Sequence[Mapping[str, Any]]) -> str:
    at = time.strftime("%H:%M:%S", time.localtime(look.at))
    if look.away:
        words = console.safe(" ".join(look.away.split()))
        return f"{console.SIGNS['bad']} as of {at}, nothing newer: {words}"
    health = Counter(row["health"] for row in rows)
    rate = sum(row["rps"] for row in rows if row["role"] == "service")
    count = f"{len(rows)} services and gateways"
    states = ", ".join(f"{health[one]} {one}" for one in ("unhealthy", "degraded", "healthy") if health[one])
    return f"mesh top  {at}  {count}: {states or 'no state'}  {rate:.1f} calls/s"
