"""`mesh events`: what happened, and with -f what happens."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from meshwright.cli import output as output_module
from meshwright.cli.http import call_api
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.cli.output import Level
from meshwright.cli.sse import follow_events
from meshwright.control_plane.api import calls

LEVELS: Mapping[str, Level] = {"info": "good", "warning": "partial", "error": "bad"}

_TIME, _KIND = 19, 9
# Widths of the first columns: of what comes later nothing is known yet.


def events(
    follow_on: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on and show events as they come.")
    ] = False,
    kind: Annotated[str, typer.Option("--kind", "-k", metavar="KIND", help="Only events of a kind.")] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many.")] = 20,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Show what happened: who changed what, what Envoys refused, breakers, leases, certificates.

    The newest come last. Kinds: revision, nack, sidecar, breaker, ejection, lease, instance, svid, enrolment,
    store. With -f the command goes on until Ctrl-C; when the control plane was away it shows what was missed.

    \b
    Example:
      mesh events -n 50
      mesh events -f --kind breaker
      mesh events -f -o json | jq .message
    """
    found = call_api(calls.events(limit, kind=kind), state)["events"][::-1]
    if not follow_on:
        _print_table(found, output)
        return
    try:
        _print_lines(found, output)
        _print_lines(follow_events(state, kind, found[-1]["id"] if found else "0-0"), output)
    except KeyboardInterrupt:
        raise typer.Exit from None


def _print_table(found: list[dict[str, Any]], output: Output) -> None:
    if output is not Output.table:
        output_module.print_data({"events": found}, output)
        return
    if found:
        _print_header()
    for event in found:
        output_module.echo(format_event(event))
    if not found:
        output_module.echo("no events yet")


def _print_lines(found: Iterable[Mapping[str, Any]], output: Output) -> None:
    """One line for each event, at once."""
    for event in found:
        text = format_event(event) if output is Output.table else json.dumps(event, ensure_ascii=False)
        output_module.echo(text)
        output_module.flush()


def _print_header() -> None:
    output_module.echo(f"{'TIME':{_TIME}}  {'KIND':{_KIND}}  EVENT")


def format_event(event: Mapping[str, Any]) -> str:
    """An event as a line of the table."""
    made = datetime.fromtimestamp(event["time"], UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    sign = output_module.SIGNS[LEVELS.get(event["severity"], "partial")]
    author = f", by {event['author']}" if event["author"] else ""
    revision = f" (revision {event['revision']}{author})" if event["revision"] else author
    if event["kind"] == "revision":
        revision = author
    words = f"{sign} {event['subject']}: {event['message']}{revision}"
    safe = "".join(c if c.isprintable() else " " for c in f"{made:{_TIME}}  {event['kind']:{_KIND}}  {words}")
    return output_module.colorize(safe)
