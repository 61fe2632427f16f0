"""`mesh why ID`: why a request failed or was slow."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from meshwright.cli import output as output_module
from meshwright.cli.http import call_api
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.cli.output import Level
from meshwright.cli.traces import format_clock, format_milliseconds
from meshwright.control_plane.api import calls

LEVELS: Mapping[str, Level] = {"failed": "bad", "slow": "partial", "fine": "good"}


def why(
    id: Annotated[
        str, typer.Argument(metavar="ID", help="A request's x-request-id or trace, or the first of it.")
    ],
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Say why a request failed or was slow: Envoy's flag, the sidecar, the policy, its revision and author.

    Answers of the mesh carry their x-request-id, so does every line of an access log. Failed requests and
    those of a second and more are kept for a while, others only while they are traced or tapped.

    \b
    Example:
      mesh why c8fe00fa-bdd8-9ba0-9c18-8b4dd66a7c87
      mesh why ce2269ae1c9a
    """
    reply = call_api(calls.explain(id.strip()), state)
    if output is not Output.table:
        output_module.print_data(reply, output)
        return
    for line in explanation_lines(reply):
        output_module.echo(output_module.colorize(output_module.sanitize(line)))


def explanation_lines(told: Mapping[str, Any]) -> Iterator[str]:
    """A Why of the API as text."""
    yield output_module.status_text(LEVELS[told["verdict"]], told["summary"])
    yield ""
    yield f"request  {told['request'] or '-'}"
    yield f"trace    {told['trace'] or '-'}"
    yield f"began    {format_clock(told['time'])}"
    yield ""
    for reason in told["reasons"]:
        yield from _cause_lines(reason)
    yield ""
    for step in told["steps"]:
        yield _hop_line(step)


def _cause_lines(reason: Mapping[str, Any]) -> Iterator[str]:
    ends = " → ".join(dict.fromkeys(one for one in (reason["caller"], reason["callee"]) if one))
    flag = f"{reason['flag']}  " if reason["flag"] else ""
    yield f"{flag}{reason['words']}"
    by = reason["proxy"] or reason["service"]
    yield f"    told by {by}{f', {ends}' if ends not in ('', by) else ''}"
    for policy in reason["policies"]:
        yield from _policy_lines(policy)


def _policy_lines(policy: Mapping[str, Any]) -> Iterator[str]:
    says = f" ({policy['says']})" if policy["says"] else ""
    yield f"    {policy['kind']} {policy['name']}{says}"
    if policy["revision"]:
        when = time.strftime(", %Y-%m-%d %H:%M:%S", time.localtime(policy["time"])) if policy["time"] else ""
        author = f", by {policy['author']}" if policy["author"] else ""
        because = f": {policy['why']}" if policy["why"] else ""
        yield f"        revision {policy['revision']}{author}{when}{because}"


def _hop_line(step: Mapping[str, Any]) -> str:
    """One step of the way: where, what, how it ended, how long it took, and how much of that itself."""
    level: Level = "bad" if step["failed"] else "partial" if step["status"] >= 400 else "good"
    where = step["proxy"] or step["service"]
    to = "its app" if step["direction"] == "inbound" else step["callee"] or "nowhere"
    flags = f" {','.join(step['flags'])}" if step["flags"] else ""
    tries = f", {step['attempts']} tries" if step["attempts"] > 1 else ""
    head = f"{'  ' * step['depth']}{output_module.SIGNS[level]} {where} → {to}  {step['request']}"
    took = f"{format_milliseconds(step['duration'])} (own {format_milliseconds(step['own'])}{tries})"
    return f"{head:<52}  {step['grpc_status'] or step['status'] or '-'}{flags}  {took}"
