"""`mesh push status|pause|resume|abort`: a revision on its way to the sidecars, in waves."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import typer

from meshwright.cli.http import call_api
from meshwright.cli.options import MessageOption, Output, OutputOption, StateOption, author
from meshwright.cli.output import echo, print_data, print_table, sanitize
from meshwright.cli.usage import MeshCommand
from meshwright.control_plane.api import calls
from meshwright.control_plane.api.push_text import push_text

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def push() -> None:
    """Show, pause, resume or abort the push of the newest revision.

    \b
    Example:
      mesh push status
      mesh push abort -m "checkout is slow"
    """


@app.command(cls=MeshCommand)
def status(output: OutputOption = Output.table, state: StateOption = None) -> None:
    """Show the wave, the proxies that have the revision, their figures, and what was withdrawn.

    \b
    Example:
      mesh push status
    """
    _print(call_api(calls.push(), state), output)


@app.command(cls=MeshCommand)
def pause(output: OutputOption = Output.table, state: StateOption = None) -> None:
    """Let no further wave begin. The revision is still withdrawn if it does harm.

    \b
    Example:
      mesh push pause
    """
    _print(call_api(calls.change_push("pause", author()), state), output)


@app.command(cls=MeshCommand)
def resume(output: OutputOption = Output.table, state: StateOption = None) -> None:
    """Go on with the next wave.

    \b
    Example:
      mesh push resume
    """
    _print(call_api(calls.change_push("resume", author()), state), output)


@app.command(cls=MeshCommand)
def abort(
    message: MessageOption = "", output: OutputOption = Output.table, state: StateOption = None
) -> None:
    """Withdraw a revision that is on trial or watched: the last good one is restored as a new revision.

    \b
    Example:
      mesh push abort -m "checkout is slow"
    """
    _print(call_api(calls.change_push("abort", author(), message), state), output)


def _print(report: Mapping[str, Any], output: Output) -> None:
    if output is not Output.table:
        print_data(report, output)
        return
    echo(sanitize(push_text(report) or f"revision {report['stable']} is in force: no push is under way"))
    push = report["push"]
    if push and push["admitted"]:
        echo(sanitize(f"proxies: {', '.join(key.partition('/')[2] for key in push['admitted'])}"))
    if push and push["figures"]:
        echo(sanitize(push["figures"]))
    rows = [
        (str(item["revision"]), str(item["restored"]), _clock(item["time"]), item["reason"])
        for item in report["withdrawals"][:10]
    ]
    if rows:
        print_table(("WITHDRAWN", "RESTORED AS", "TIME", "REASON"), rows)


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
