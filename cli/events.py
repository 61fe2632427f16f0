"""`mesh events`: recent events, and with -f those to come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from meshwright.cli.http import call_api
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.cli.output import (
    SIGNS,
    Level,
    colorize,
    echo,
    flush,
    json_text,
    print_items,
    sanitize,
    with_times,
)
from meshwright.cli.sse import follow_events
from meshwright.control_plane.api import calls

LEVELS: Mapping[str, Level] = {"info": "good", "warning": "partial", "error": "bad"}

_TIME_WIDTH, _KIND_WIDTH = 19, 9
"""Column widths. They are fixed, since the events to come are unknown."""


class EventKindChoice(StrEnum):
    """The kinds of events, as `control_plane.api.models.events` lists them."""

    revision = "revision"
    nack = "nack"
    sidecar = "sidecar"
    breaker = "breaker"
    ejection = "ejection"
    lease = "lease"
    instance = "instance"
    svid = "svid"
    enrolment = "enrolment"
    store = "store"
    outage = "outage"
    refusal = "refusal"
    certificate = "certificate"


def events(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow new events until Ctrl-C.")] = False,
    kind: Annotated[
        EventKindChoice | None, typer.Option("--kind", "-k", metavar="KIND", help="Only events of this kind.")
    ] = None,
    limit: Annotated[
        int,
        typer.Option("--limit", "-n", metavar="N", min=1, max=1000, help="Past events to show."),
    ] = 20,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Show events: policy changes, NACKs, circuit breakers, leases, certificates. The newest come last.

    Kinds: revision, nack, sidecar, breaker, ejection, lease, instance, svid, enrolment, store,
    outage, refusal, certificate. With -f, events missed while the control plane is disconnected are shown
    once it is back.

    \b
    Example:
      mesh events -n 50
      mesh events -f --kind breaker
      mesh events -f -o json | jq .message
    """
    selected = kind.value if kind else ""
    past = call_api(calls.events(limit, kind=selected), state)["events"][::-1]
    if not follow:
        _print_list(past, output)
        return
    try:
        _print_lines(past, output)
        _print_lines(follow_events(state, selected, past[-1]["id"] if past else "0-0"), output)
    except KeyboardInterrupt:
        raise typer.Exit from None


def _print_list(past: list[dict[str, Any]], output: Output) -> None:
    if output is not Output.table:
        print_items(past, output)
        return
    if not past:
        echo("no events yet")
        return
    echo(f"{'TIME':{_TIME_WIDTH}}  {'KIND':{_KIND_WIDTH}}  EVENT")
    for event in past:
        echo(format_event(event))


def _print_lines(stream: Iterable[Mapping[str, Any]], output: Output) -> None:
    """Print each event on a line as soon as it arrives."""
    for event in stream:
        echo(format_event(event) if output is Output.table else json_text(with_times(event)))
        flush()


def format_event(event: Mapping[str, Any]) -> str:
    """An event as a row of the table."""
    time = datetime.fromtimestamp(event["time"], UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    sign = SIGNS[LEVELS.get(event["severity"], "partial")]
    author = f", by {event['author']}" if event["author"] else ""
    revision = f" (revision {event['revision']}{author})" if event["revision"] else author
    if event["kind"] == "revision":
        revision = author
    text = f"{sign} {event['subject']}: {event['message']}{revision}"
    return colorize(sanitize(f"{time:{_TIME_WIDTH}}  {event['kind']:{_KIND_WIDTH}}  {text}"))
