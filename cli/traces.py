"""`mesh traces`: search traces."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer

from meshwright.cli.durations import duration_parser
from meshwright.cli.http import call_api
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.cli.output import echo, print_items, print_table, status_text
from meshwright.control_plane.api import calls

SHORT_ID = 12
"""Digits of a trace ID in the table: unique among thousands of traces, and accepted by `mesh trace`."""

HEADER = ("TRACE", "STARTED", "DURATION", "SPANS", "ERRORS", "ROOT SERVICE", "REQUEST")


def traces(  # noqa: PLR0917  typer's options
    service: Annotated[
        str, typer.Option("--service", metavar="NAME", help="Only traces with a span of this service.")
    ] = "",
    operation: Annotated[
        str, typer.Option("--operation", metavar="NAME", help="Only traces with a span of this name.")
    ] = "",
    min_duration: Annotated[
        float | None,
        typer.Option(
            "--min-duration",
            metavar="DURATION",
            parser=duration_parser(0.001, 86_400),
            help="Only traces with a span of at least this duration, e.g. 250ms.",
        ),
    ] = None,
    errors: Annotated[bool, typer.Option("--errors", help="Only traces with a failed span.")] = False,
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="N", min=1, max=500, help="Maximum number of traces.")
    ] = 20,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Search traces, newest first. A single span must match all the options.

    \b
    Example:
      mesh traces
      mesh traces --service orders --errors
      mesh traces --min-duration 250ms -o json
    """
    call = calls.traces(
        service=service, operation=operation, min_duration=_gep_2257(min_duration), errors=errors, limit=limit
    )
    result = call_api(call, state)
    if output is not Output.table:
        print_items(result["traces"], output)
        return
    print_table(HEADER, [_row(trace) for trace in result["traces"]])
    if not result["traces"]:
        mesh = call_api(calls.status(), state)
        names = (item["name"] for item in (*mesh["services"], *mesh["gateways"]))
        echo(f"no matching traces: {advice(service, names)}")


def advice(service: str, members: Iterable[str]) -> str:
    """What to try when no trace matches; `members` are the mesh's services and gateways."""
    names = sorted(members)
    if not service or service in names:
        return "check the filters, or raise sampling in a Telemetry policy"
    from meshwright.control_plane.policies.validation_messages import suggestion

    question = suggestion(service, names, "see `mesh topology`")
    return f"the mesh has no service or gateway {service}: {question}"


def _gep_2257(seconds: float | None) -> str:
    """A duration as the API takes it; empty for None."""
    if seconds is None:
        return ""
    from datetime import timedelta

    from meshwright.control_plane.policies.duration import render

    return render(timedelta(seconds=seconds))


def _row(trace: Mapping[str, Any]) -> tuple[str, ...]:
    errors = trace["errors"]
    return (
        trace["id"][:SHORT_ID],
        format_clock(trace["start"]),
        format_milliseconds(trace["duration"]),
        str(trace["spans"]),
        status_text("bad", str(errors)) if errors else status_text("good", "0"),
        trace["service"],
        trace["request"] or trace["operation"],
    )


def format_clock(seconds: float) -> str:
    """A time as local time of day, to the millisecond."""
    try:
        time_of_day = time.strftime("%H:%M:%S", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return "-"
    return f"{time_of_day}.{int(seconds % 1 * 1000):03}"


def format_milliseconds(value: float) -> str:
    """A duration of about three digits. Envoy truncates it to milliseconds if the response is incomplete."""
    if value < 0.005:
        return "<0.01 ms" if value > 0 else "<1 ms"
    if value >= 10_000:
        return f"{value / 1000:.1f} s"
    return f"{value:.0f} ms" if value >= 100 else f"{value:.1f} ms" if value >= 1 else f"{value:.2f} ms"
