"""`mesh rollout`: where rollouts stand, and steering them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from meshwright.cli.apply import change_options
from meshwright.cli.durations import format_duration
from meshwright.cli.errors import CommandError
from meshwright.cli.http import call_api
from meshwright.cli.options import MessageOption, Output, OutputOption, StateOption
from meshwright.cli.output import echo, print_data, print_items, print_table, sanitize, with_times
from meshwright.cli.resource_names import name_parser
from meshwright.cli.usage import MeshCommand
from meshwright.control_plane.api import calls, errors
from meshwright.control_plane.errors import InputError

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

POLL_INTERVAL = 1.0
"""Seconds between two looks of --wait: a rollout moves every two seconds at most."""

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", parser=name_parser("rollout"), help="Name of the rollout.")
]

Rollout = Mapping[str, Any]
"""The JSON of a RolloutStatus."""


@app.callback()
def rollout() -> None:
    """Show and steer rollouts, which move traffic to a new version step by step.

    \b
    Example:
      mesh rollout list
      mesh rollout status orders-v2 --wait
      mesh rollout promote orders-v2
    """


@app.command(name="list", cls=MeshCommand)
def list_rollouts(output: OutputOption = Output.table, state: StateOption = None) -> None:
    """List the rollouts: step, share, and the success of canary and stable version.

    \b
    Example:
      mesh rollout list
    """
    rollouts = call_api(calls.rollouts(), state)["rollouts"]
    if output is not Output.table:
        print_items(rollouts, output)
        return
    header = ("NAME", "PHASE", "STEP", "CANARY", "SHARE", "SUCCESS", "STABLE", "SUCCESS", "SINCE")
    print_table(header, map(_row, rollouts))
    if not rollouts:
        echo("no rollouts: see `mesh schema rollout`")


def _row(item: Rollout) -> tuple[str, ...]:
    return (
        item["name"],
        item["phase"].lower(),
        f"{item['step']} of {item['steps']}",
        item["canary"].partition("/")[2],
        _share(item),
        _success(item["canary_figures"]),
        item["stable"].partition("/")[2],
        _success(item["stable_figures"]),
        f"{format_duration(max(round(time.time() - item['since']), 0))} ago" if item["since"] else "-",
    )


def _share(item: Rollout) -> str:
    return f"copies {item['mirror']} %" if item["mirror"] else f"{item['weight']} %"


def _success(figures: Mapping[str, Any]) -> str:
    return f"{figures['success_rate']:.1f} %" if figures["requests"] else "-"


@app.command(cls=MeshCommand)
def status(
    name: NameArgument,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is promoted or aborted.")] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=1, help="With --wait: the longest time.")
    ] = 3600.0,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Show one rollout, with --wait when it has ended.

    \b
    Exit codes with --wait: 0 promoted · 1 aborted · 4 still under way

    \b
    Example:
      mesh rollout status orders-v2 --wait
    """
    deadline = time.monotonic() + timeout
    item, shown = _find(name, state), ""
    while wait and item["phase"] not in ("Promoted", "Aborted"):
        if output is Output.table and item["reason"] != shown:
            shown = item["reason"]
            echo(sanitize(f"{item['phase'].lower()}: {shown}"))
        if time.monotonic() >= deadline:
            message = f"rollout {name} is still {item['phase'].lower()}: {item['reason']}"
            raise CommandError(errors.TIMED_OUT, message)
        time.sleep(POLL_INTERVAL)
        item = _find(name, state)
    if output is Output.table:
        _print(item)
    else:
        print_data(with_times(item), output)
    if wait and item["phase"] == "Aborted":
        raise typer.Exit(1)


def _find(name: str, state: Any) -> Rollout:
    rollouts: list[Rollout] = call_api(calls.rollouts(), state)["rollouts"]
    for item in rollouts:
        if item["name"] == name:
            return item
    names = ", ".join(item["name"] for item in rollouts) or "none"
    raise InputError(f"no such Rollout: {name}: the mesh has {names}")


def _print(item: Rollout) -> None:
    echo(sanitize(f"{item['name']}: {item['phase'].lower()}: {item['reason'] or 'not begun'}"))
    if item["waits_for"]:
        echo(sanitize(f"waits for {item['waits_for']}"))
    rows = [
        (
            title,
            item[field],
            share,
            _success(figures),
            f"{figures['requests']:.0f}",
            f"{figures['p99_ms']:.0f} ms",
        )
        for title, field, share, figures in (
            ("canary", "canary", _share(item), item["canary_figures"]),
            ("stable", "stable", f"{100 - item['weight']} %", item["stable_figures"]),
        )
    ]
    print_table(("", "BACKEND", "SHARE", "SUCCESS", "REQUESTS", "P99"), rows)


@app.command(cls=MeshCommand)
def promote(
    name: NameArgument,
    *,
    full: Annotated[bool, typer.Option("--full", help="Give the canary all requests.")] = False,
    message: MessageOption = "",
    state: StateOption = None,
) -> None:
    """Go on to the next step, whatever this one still waits for.

    \b
    Example:
      mesh rollout promote orders-v2
      mesh rollout promote orders-v2 --full -m "checked by hand"
    """
    _steer(name, "promote-fully" if full else "promote", message, state)


@app.command(cls=MeshCommand)
def pause(name: NameArgument, message: MessageOption = "", state: StateOption = None) -> None:
    """Stay at the current step. Guards go on watching.

    \b
    Example:
      mesh rollout pause orders-v2 -m "looking at its latency"
    """
    _steer(name, "pause", message, state)


@app.command(cls=MeshCommand)
def resume(name: NameArgument, message: MessageOption = "", state: StateOption = None) -> None:
    """Begin the current step again after a pause.

    \b
    Example:
      mesh rollout resume orders-v2
    """
    _steer(name, "resume", message, state)


@app.command(cls=MeshCommand)
def abort(name: NameArgument, message: MessageOption = "", state: StateOption = None) -> None:
    """Give all requests back to the stable version.

    \b
    Example:
      mesh rollout abort orders-v2 -m "customers see old prices"
    """
    _steer(name, "abort", message, state)


@app.command(cls=MeshCommand)
def restart(name: NameArgument, message: MessageOption = "", state: StateOption = None) -> None:
    """Begin again at the first step.

    \b
    Example:
      mesh rollout restart orders-v2
    """
    _steer(name, "restart", message, state)


def _steer(name: str, action: str, message: str, state: Any) -> None:
    options = change_options(None, message, dry_run=False)
    result = call_api(calls.steer_rollout(name, action, options), state)
    echo(sanitize(f"revision {result['revision']}: rollout {name}: {action}"))
