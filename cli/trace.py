"""`mesh trace ID`: one trace as a waterfall."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer

from meshwright.cli.http import call_api
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.cli.output import colorize, echo, print_data
from meshwright.control_plane.api import calls

MIN_WIDTH = 80
"""Minimum columns of the waterfall."""


def trace(
    id: Annotated[str, typer.Argument(metavar="ID", help="A trace ID or a prefix of it.")],
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Show a trace as a waterfall: who did what, when, for how long, and why it failed.

    Each span names its reporter: `app` is the service itself, `proxy` its Envoy. Envoy's response flags are
    explained below their span, with the policy kinds that can cause them.

    \b
    Example:
      mesh traces --errors
      mesh trace 4bf92f3577b3
    """
    spans = call_api(calls.trace(id.strip().lower()), state)
    if output is not Output.table:
        print_data(spans, output)
        return
    from meshwright.cli.waterfall import waterfall_lines

    width = max(MIN_WIDTH, shutil.get_terminal_size((MIN_WIDTH, 24)).columns)
    for line in waterfall_lines(spans, width):
        echo(colorize(line))
