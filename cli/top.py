"""`mesh top`: how every service does, live."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from meshwright.cli import output as output_module
from meshwright.cli import screen, top_table
from meshwright.cli.http import call_api
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.control_plane.api import calls
from meshwright.control_plane.api.errors import ApiError, UnreachableError

REFRESH_TIMEOUT = 5.0
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
    found = call_api(calls.services(), state)
    if output is not Output.table:
        output_module.print_data(found, output)
    elif once or not screen.is_usable():
        width = screen.size()[0] if screen.is_usable() else ONCE_WIDTH
        for line in top_table.lines(found["services"], width, ONCE_HEIGHT):
            output_module.echo(output_module.colorize(line))
    else:
        try:
            _live(found, every, state)
        except KeyboardInterrupt:
            raise typer.Exit from None


@dataclass(frozen=True, slots=True)
class TopState:
    """What is known: the last answer, when it came (seconds since the epoch), why there is no newer one."""

    services: Mapping[str, Any]
    updated_at: float
    error: str = ""


def _live(found: Mapping[str, Any], every: float, state: Path | None) -> None:
    look = TopState(found, time.time())
    with screen.alternate() as shown:
        while True:
            shown.draw([output_module.colorize(line) for line in frame(look, *screen.size())])
            due = time.monotonic() + every
            while key := shown.wait(due - time.monotonic()):
                if key[0] in "qQ":
                    return
                shown.draw([output_module.colorize(line) for line in frame(look, *screen.size())])
            look = _refresh(look, state)


def _refresh(last: TopState, state: Path | None) -> TopState:
    """A new look; raises ApiError when the control plane refuses to answer."""
    try:
        return TopState(call_api(replace(calls.services(), timeout=REFRESH_TIMEOUT), state), time.time())
    except UnreachableError as error:
        return replace(last, error=str(error))
    except ApiError as error:
        if error.status < 500:
            raise
        return replace(last, error=str(error))


def frame(look: TopState, width: int, height: int) -> list[str]:
    """The whole screen: what the mesh does in a line, the table, the legend."""
    rows = look.services["services"]
    table = top_table.lines(rows, width, height - 3)
    lines = [_summary(look, rows), "", *table]
    lines += [""] * (height - len(lines) - 1) + [LEGEND]
    return [line[:width] for line in lines][:height]


def _summary(look: TopState, rows: Sequence[Mapping[str, Any]]) -> str:
    at = time.strftime("%H:%M:%S", time.localtime(look.updated_at))
    if look.error:
        words = output_module.sanitize(" ".join(look.error.split()))
        return f"{output_module.SIGNS['bad']} as of {at}, nothing newer: {words}"
    health = Counter(row["health"] for row in rows)
    rate = sum(row["rps"] for row in rows if row["role"] == "service")
    count = f"{len(rows)} services and gateways"
    states = ", ".join(f"{health[one]} {one}" for one in ("unhealthy", "degraded", "healthy") if health[one])
    return f"mesh top  {at}  {count}: {states or 'no state'}  {rate:.1f} calls/s"
