"""`mesh tap SERVICE`: a service's requests, live."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from meshwright.cli.durations import duration_parser
from meshwright.cli.errors import warn
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.cli.output import SIGNS, Level, colorize, echo, flush, json_text, sanitize
from meshwright.cli.resource_names import name_parser
from meshwright.cli.sse import ConnectionState, open_stream, reconnecting
from meshwright.cli.traces import format_clock, format_milliseconds
from meshwright.control_plane.api import calls

OUTSIDE = "outside"
"""Shown as the caller of a gateway's requests, and of a request without a client certificate."""

MAX_SECONDS = 7 * 86_400.0


def tap(  # noqa: PLR0917  typer's arguments
    service: Annotated[
        str,
        typer.Argument(
            metavar="SERVICE", parser=name_parser("service", "gateway"), help="A service or gateway."
        ),
    ],
    errors: Annotated[bool, typer.Option("--errors", help="Only failed requests.")] = False,
    method: Annotated[
        str, typer.Option("--method", metavar="METHOD", help="Only requests with this method.")
    ] = "",
    path: Annotated[
        str, typer.Option("--path", metavar="PREFIX", help="Only requests whose path starts with PREFIX.")
    ] = "",
    caller: Annotated[
        str, typer.Option("--caller", metavar="NAME", help="Only requests from this service.")
    ] = "",
    period: Annotated[
        float | None,
        typer.Option(
            "--for",
            metavar="DURATION",
            parser=duration_parser(0.001, MAX_SECONDS),
            help="Stop after this time. [default: at Ctrl-C]",
        ),
    ] = None,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Show a service's requests live: time, caller, request, status, duration, and why it failed.

    While the tap runs, the service's sidecars log every request to the control plane; they stop within
    seconds after the last tap ends. A retried request has one line per attempt that reached an instance.
    A request that the caller's sidecar never sent has a line too. Beyond 200 requests per second, the rest
    is counted and not shown. With -o json, each request is one JSON object per line. While the control plane
    is disconnected the tap reconnects; a line on stderr then says how long nothing was seen.

    \b
    Example:
      mesh tap orders
      mesh tap orders --errors --for 30s
      mesh tap catalog --path /api/products --caller storefront -o json
    """
    if output is Output.yaml:
        raise typer.BadParameter("yaml is not supported: use json", param_hint="-o")
    until = time.monotonic() + period if period else None
    call = calls.tap(service, errors=errors, method=method.upper(), path=path, caller=caller)
    connection = ConnectionState("control plane disconnected: reconnecting; requests until then are missed")
    try:
        for event in reconnecting(lambda: open_stream(state, call.path, until=until), connection, until):
            if event:
                _print_event(event, service, output)
            if event.get("tapping") and (outage := connection.restored()):
                warn(f"tapping {service} again after {outage:.1f} s: requests of that time may be missing")
    except (KeyboardInterrupt, TimeoutError):
        if outage := connection.outage_seconds:
            warn(f"stopped while disconnected: requests of the last {outage:.1f} s are missing")
        raise typer.Exit from None


def _print_event(event: Mapping[str, Any], service: str, output: Output) -> None:
    request = event["request"]
    if request is None:
        _print_notice(event, service)
        return
    echo(format_request(request) if output is Output.table else json_text(request))
    flush()


def _print_notice(event: Mapping[str, Any], service: str) -> None:
    """Print an event that is not a request to stderr."""
    if event["omitted"]:
        warn(f"{event['omitted']} more not shown")
        return
    warn(f"tapping {service}: {event['tapping']} of {event['proxies']} proxies")
    if event["not_tapping"]:
        warn(f"no response, only failed and slow requests are shown: {', '.join(event['not_tapping'])}")


def format_request(request: Mapping[str, Any]) -> str:
    """A request as a line."""
    level: Level = "bad" if request["failed"] else "partial" if request["status"] >= 400 else "good"
    status = request["grpc_status"] or str(request["status"] or "-")
    caller = request["caller"] if request["direction"] != "ingress" else OUTSIDE
    target = f"{request['method']} {request['path']}".strip()
    duration = format_milliseconds(request["duration"])
    flags = "; ".join(f"{flag['flag']} {flag['meaning'].partition(',')[0]}" for flag in request["flags"])
    why = f"refused by {', '.join(request['refused_by'])}" if request["refused_by"] else flags
    outcome = f"{SIGNS[level]} {status:<4} {duration:>8}"
    line = f"{format_clock(request['time'])}  {caller or OUTSIDE:<12}  {target:<36}  {outcome}  {why}"
    return colorize(sanitize(line.rstrip()))
