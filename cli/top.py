"""`mesh top`: the services of the mesh, live."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.text import Text

from meshwright.cli.durations import duration_parser
from meshwright.cli.http import call_api
from meshwright.cli.live_screen import is_usable, live_screen
from meshwright.cli.options import AllOption, Output, OutputOption, StateOption
from meshwright.cli.output import SIGNS, print_data, sanitize
from meshwright.cli.top_table import service_table, signed
from meshwright.control_plane.api import calls, signs
from meshwright.control_plane.api.errors import ApiError, UnreachableError

REFRESH_TIMEOUT = 5.0
"""Seconds to wait for a response. The live screen does not update during that time."""

PIPE_WIDTH = 120
"""Columns of a table that is not printed to a terminal."""

NO_LIMIT = 1_000_000
"""Lines of a table that is printed once."""

LEGEND = f"q quits   {signs.GOOD} good  {signs.PARTIAL} degraded  {signs.BAD} failing  {signs.OFF} unknown"


def top(
    once: Annotated[bool, typer.Option("--once", help="Print one table and exit.")] = False,
    interval: Annotated[
        float,
        typer.Option(
            "--interval",
            metavar="DURATION",
            parser=duration_parser(0.5, 3600),
            show_default=False,
            help="Time between two updates. [default: 2s]",
        ),
    ] = 2.0,
    show_all: AllOption = False,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Show every service live, unhealthy ones first: all requests to it over the last 10 seconds.

    A gateway counts the requests it sends. RPS is responses per second (connections for TCP), SUCCESS the
    share that did not fail, latencies cover whole requests with their retries, BREAKER is the worst circuit
    breaker towards the service with the number of ejected instances, READY the healthy instances of all.
    Idle services are hidden. q or Ctrl-C quits. Prints one table if stdout is not a terminal.

    \b
    Symbols: ● good · ▲ degraded · × failing · ○ unknown

    \b
    Example:
      mesh top
      mesh top --once
      mesh top -o json | jq '.services[] | select(.health != "healthy").name'
    """
    response = _visible(call_api(calls.services(), state), show_all=show_all)
    if output is not Output.table:
        print_data(response, output)
    elif once or not is_usable():
        console = Console(highlight=False, width=None if is_usable() else PIPE_WIDTH)
        console.print(service_table(response, console.width, NO_LIMIT))
    else:
        try:
            _run_live(response, interval, state, show_all=show_all)
        except KeyboardInterrupt:
            raise typer.Exit from None


@dataclass(frozen=True, slots=True)
class TopState:
    """The last ServiceList, its time in seconds since the epoch, and why there is no newer one."""

    response: Mapping[str, Any]
    updated_at: float
    error: str = ""


def _visible(response: Mapping[str, Any], *, show_all: bool) -> Mapping[str, Any]:
    """The ServiceList without idle services."""
    if show_all:
        return response
    services = [service for service in response["services"] if service["health"] != "idle"]
    return {**response, "services": services}


def _run_live(response: Mapping[str, Any], interval: float, state: Path | None, *, show_all: bool) -> None:
    current = TopState(response, time.time())
    with live_screen() as screen:
        while True:
            screen.show(frame(current, *screen.size))
            next_refresh = time.monotonic() + interval
            while key := screen.wait(next_refresh - time.monotonic()):
                if key[0] in "qQ":
                    return
                screen.show(frame(current, *screen.size))
            current = _refresh(current, state, show_all=show_all)


def _refresh(last: TopState, state: Path | None, *, show_all: bool) -> TopState:
    """The next state; raises ApiError when the control plane rejects the request."""
    try:
        response = call_api(replace(calls.services(), timeout=REFRESH_TIMEOUT), state)
        return TopState(_visible(response, show_all=show_all), time.time())
    except UnreachableError as error:
        return replace(last, error=str(error))
    except ApiError as error:
        if error.status < 500:
            raise
        return replace(last, error=str(error))


def frame(current: TopState, width: int, height: int) -> RenderableType:
    """The screen: a summary, the table, and the legend on the last line."""
    table = service_table(current.response, width, height - 3)
    rows = min(len(current.response["services"]) + 1, max(height - 3, 1))
    padding = [Text("")] * max(height - rows - 3, 0)
    return Group(signed(_summary(current)), Text(""), table, *padding, signed(LEGEND))


def _summary(current: TopState) -> str:
    updated_at = time.strftime("%H:%M:%S", time.localtime(current.updated_at))
    if current.error:
        return f"{SIGNS['bad']} no update since {updated_at}: {sanitize(' '.join(current.error.split()))}"
    services = current.response["services"]
    health = Counter(service["health"] for service in services)
    rps = sum(service["rps"] for service in services if service["role"] == "service")
    counts = ", ".join(
        f"{health[state]} {state}" for state in ("unhealthy", "degraded", "healthy") if health[state]
    )
    return (
        f"mesh top  {updated_at}  {len(services)} services and gateways: {counts or 'no health yet'}  "
        f"{rps:.1f} requests/s"
    )
