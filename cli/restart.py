"""`mesh restart`: replace the processes of a service one by one, without losing a request."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from meshwright.cli.durations import duration_parser
from meshwright.cli.errors import CommandError, warn
from meshwright.cli.http import call_api
from meshwright.cli.instances import is_served, select_instances
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.cli.output import SIGNS, colorize, echo, flush, print_data, sanitize
from meshwright.cli.resource_names import name_parser
from meshwright.control_plane.api import calls, errors

POLL_INTERVAL = 0.2


def restart(
    service: Annotated[
        str,
        typer.Argument(metavar="SERVICE", parser=name_parser("service"), help="The service to restart."),
    ],
    *,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout",
            metavar="DURATION",
            parser=duration_parser(1, 3600),
            show_default=False,
            help="How long each instance has to be healthy again. [default: 60s]",
        ),
    ] = 60.0,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Restart a service: its instances one by one, each drained before and healthy after.

    Callers stop sending to an instance, it finishes its requests, its process is stopped and started, and
    callers send to it again before the next one's turn. With two or more instances no request fails. An
    instance that does not become healthy ends the restart; the others go on as they were.

    \b
    Example:
      mesh restart orders
    """
    instances = _instances(service, state)
    if sum(item["health"] == "healthy" for item in instances) < 2:
        warn(f"{service} has no second healthy instance: calls fail until the only one is back")
    restarted = []
    for number, item in enumerate(instances, 1):
        started = time.monotonic()
        label = f"{item['name']} ({number} of {len(instances)})"
        _restart_one(f"{service}/{item['name']}", label, timeout, state, show=output is Output.table)
        restarted.append({"instance": item["name"], "seconds": round(time.monotonic() - started, 1)})
    if output is Output.table:
        echo(f"restarted {len(restarted)} of {len(instances)} instances of {service}")
    else:
        print_data({"service": service, "restarted": restarted}, output)


def _instances(service: str, state: Path | None) -> list[dict[str, Any]]:
    """The instances to restart, those first that do not serve anyway; raises NotFoundError."""
    return sorted(
        select_instances(state, [service]), key=lambda item: (item["health"] == "healthy", item["name"])
    )


def _restart_one(proxy: str, label: str, timeout: float, state: Path | None, *, show: bool) -> None:
    """Restart one instance and wait until its callers send to it again."""
    deadline = time.monotonic() + timeout
    shown = ""
    for progress in _progress(proxy, state):
        phase = "healthy" if progress["finished"] else progress["phase"]
        if show and phase != shown:
            echo(colorize(f"{SIGNS['good' if progress['finished'] else 'partial']} {label}: {phase}"))
            flush()
        shown = phase
        if progress["finished"] and is_served(proxy, state):
            return
        if time.monotonic() > deadline:
            reason = sanitize(progress["reason"]) or phase
            raise CommandError(
                errors.TIMED_OUT,
                f"{label}: not healthy after {timeout:g} s: {reason}: the other instances were left alone",
            )
        time.sleep(POLL_INTERVAL)


def _progress(proxy: str, state: Path | None) -> Iterator[dict[str, Any]]:
    yield call_api(calls.begin_restart(proxy), state)
    while True:
        yield call_api(calls.restart_status(proxy), state)
