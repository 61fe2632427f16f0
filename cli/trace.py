"""`mesh trace ID`: one trace as a waterfall."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer

from cli import console
from cli.connection import ask
from cli.options import Output, OutputOption, StateOption
from control_plane.api import operations

NARROWEST = 80


def trace(
    id: Annotated[str, typer.Argument(metavar="ID", help="A trace's ID, or the first digits of it.")],
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Show a trace as a waterfall: who did what, when, how long, and why it failed.

    A step says who told it: `app` is the service itself, `proxy` its Envoy. Envoy's response flags are
    explained below their step, with the policy kinds that cause them.

    \b
    Example:
      mesh traces --errors
      mesh trace 4bf92f3577b3
    """
    reply = ask(operations.trace(id.strip().lower()), state)
    if output is not Output.table:
        console.data(reply, output)
        return
    from cli.waterfall import lines

    width = max(NARROWEST, shutil.get_terminal_size((NARROWEST, 24)).columns)
    for line in lines(reply, width):
        console.emit(console.painted(line))
