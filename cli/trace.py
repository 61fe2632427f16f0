"""`mesh trace ID`: one trace as a waterfall."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer

from meshwright.cli import output as output_module
from meshwright.cli.http import call_api
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.control_plane.api import calls

MIN_WIDTH = 80


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
    reply = call_api(calls.trace(id.strip().lower()), state)
    if output is not Output.table:
        output_module.print_data(reply, output)
        return
    from meshwright.cli.waterfall import waterfall_lines

    width = max(MIN_WIDTH, shutil.get_terminal_size((MIN_WIDTH, 24)).columns)
    for line in waterfall_lines(reply, width):
        output_module.echo(output_module.colorize(line))
