"""`mesh tap SERVICE`: a service's requests as they come."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

import typer

from meshwright.cli import output as output_module
from meshwright.cli.errors import warn
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.cli.sse import ConnectionState, open_stream, reconnecting
from meshwright.cli.traces import format_clock, format_milliseconds
from meshwright.control_plane.api import calls

OUTSIDE = "outside"
"""The caller of what a gateway takes in, and of what comes without a certificate."""


def tap(  # noqa: PLR0917  typer's arguments
    service: Annotated[str, typer.Argument(metavar="SERVICE", help="The service or gateway.")],
    errors: Annotated[bool, typer.Option("--errors", help="Only requests that failed.")] = False,
    method: Annotated[str, typer.Option("--method", metavar="METHOD", help="Only with this method.")] = "",
    path: Annotated[
        str, typer.Option("--path", metavar="PREFIX", help="Only where the path begins so.")
    ] = "",
    caller: Annotated[str, typer.Option("--caller", metavar="NAME", help="Only by this service.")] = "",
    lasting: Annotated[
        str, typer.Option("--for", metavar="TIME", help="End after this, e.g. 30s. [default: at Ctrl-C]")
    ] = "",
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Show a service's requests live: when, by whom, what, how it ended, how long it took, and why it failed.

    While it runs the service's sidecars tell the control plane all their requests; that ends by itself,
    within seconds of the last listener. A request that is tried again is a line for each try that reached an
    instance; one that its caller's sidecar never sent is a line too. More than 200 in a second are counted,
    not shown. With -o json each request is a JSON object on a line of its own. A control plane that is away
    is waited for; then a line on stderr says for how long nothing was seen.

    \b
    Example:
      mesh tap orders
      mesh tap orders --errors --for 30s
      mesh tap catalog --path /api/products --caller storefront -o json
    """
    if output is Output.yaml:
        raise typer.BadParameter("a tap has no yaml: use json", param_hint="-o")
    until = time.monotonic() + _seconds(lasting) if lasting else None
    call = calls.tap(service, errors=errors, method=method.upper(), path=path, caller=caller)
    watch = ConnectionState("the control plane is away: waiting for it, requests meanwhile are not seen")
    try:
        for told in reconnecting(lambda: open_stream(state, call.path, until=until), watch, until):
            if told:
                _print_event(told, service, output)
            if told.get("listening") and (blind := watch.restored()):
                warn(f"tapping {service} again after {blind:.1f} s: requests of that time may be missing")
    except (KeyboardInterrupt, TimeoutError):
        if blind := watch.outage_seconds:
            warn(f"ended blind: nothing was seen of the last {blind:.1f} s")
        raise typer.Exit from None


def _seconds(text: str) -> float:
    from meshwright.control_plane.policies.duration import parse

    try:
        lasting: timedelta = parse(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: {error}", param_hint="--for") from None
    return lasting.total_seconds()


def _print_event(told: Mapping[str, Any], service: str, output: Output) -> None:
    if told["request"] is None:
        _print_notice(told, service)
        return
    request = told["request"]
    text = format_request(request) if output is Output.table else json.dumps(request, ensure_ascii=False)
    output_module.echo(text)
    output_module.flush()


def _print_notice(told: Mapping[str, Any], service: str) -> None:
    """What is no request goes to stderr."""
    if told["more"]:
        warn(f"{told['more']} more not shown")
        return
    warn(f"tapping {service}: {told['listening']} of {told['proxies']} proxies")
    if told["silent"]:
        warn(
            f"only failed and slow requests are seen of those that do not answer: {', '.join(told['silent'])}"
        )


def format_request(request: Mapping[str, Any]) -> str:
    """A request as a line."""
    level: output_module.Level = (
        "bad" if request["failed"] else "partial" if request["status"] >= 400 else "good"
    )
    ended = request["grpc_status"] or str(request["status"] or "-")
    caller = request["caller"] if request["direction"] != "ingress" else OUTSIDE
    what = f"{request['method']} {request['path']}".strip()
    took = format_milliseconds(request["duration"])
    why = "; ".join(f"{one['flag']} {one['meaning'].partition(',')[0]}" for one in request["flags"])
    state = f"{output_module.SIGNS[level]} {ended:<4} {took:>8}"
    words = f"{format_clock(request['time'])}  {caller or OUTSIDE:<12}  {what:<36}  {state}  {why}"
    return output_module.colorize(output_module.sanitize(words.rstrip()))
