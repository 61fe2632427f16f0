"""`mesh traces`: find traces."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from meshwright.cli import output as output_module
from meshwright.cli.http import call_api
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.control_plane.api import calls

SHORT_ID = 12
"""Digits of an ID that are shown: no two of some thousand traces share them, and `mesh trace` takes them."""


def traces(  # noqa: PLR0917  options, by name
    service: Annotated[str, typer.Option("--service", help="Traces with a span of this service.")] = "",
    operation: Annotated[str, typer.Option("--operation", help="Whose span has this name.")] = "",
    min_duration: Annotated[
        str,
        typer.Option("--min-duration", metavar="TIME", help="Whose span took at least so long: 250ms, 2s."),
    ] = "",
    errors: Annotated[bool, typer.Option("--errors", help="Whose span failed.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=500, help="Traces at most.")] = 20,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Find traces, newest first. One span of a trace must meet all that is asked.

    \b
    Example:
      mesh traces
      mesh traces --service orders --errors
      mesh traces --min-duration 250ms -o json
    """
    call = calls.traces(
        service=service, operation=operation, min_duration=min_duration, errors=errors, limit=limit
    )
    reply = call_api(call, state)
    if output is not Output.table:
        output_module.print_data(reply, output)
        return
    head = ("TRACE", "STARTED", "DURATION", "SPANS", "ERRORS", "BEGAN AT", "REQUEST")
    output_module.print_table(head, [_row(one) for one in reply["traces"]])
    if not reply["traces"]:
        output_module.echo("no traces: see `mesh traces --help` and the sampling of Telemetry")


def _row(trace: Mapping[str, Any]) -> tuple[str, ...]:
    errors = trace["errors"]
    return (
        trace["id"][:SHORT_ID],
        format_clock(trace["start"]),
        format_milliseconds(trace["duration"]),
        str(trace["spans"]),
        output_module.status_text("bad", str(errors)) if errors else output_module.status_text("good", "0"),
        trace["service"],
        trace["request"] or trace["operation"],
    )


def format_clock(seconds: float) -> str:
    """A moment as a local time of the day, to the millisecond."""
    try:
        whole = time.strftime("%H:%M:%S", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return "-"
    return f"{whole}.{int(seconds % 1 * 1000):03}"


def format_milliseconds(value: float) -> str:
    """A duration with three digits or so. Envoy tells whole ones, cut off, of what had no whole answer."""
    if value < 0.005:
        return "<0.01 ms" if value > 0 else "<1 ms"
    if value >= 10_000:
        return f"{value / 1000:.1f} s"
    return f"{value:.0f} ms" if value >= 100 else f"{value:.1f} ms" if value >= 1 else f"{value:.2f} ms"
