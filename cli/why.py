"""`mesh why ID`: why a request failed or was slow."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from meshwright.cli.http import call_api
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.cli.output import SIGNS, Level, colorize, echo, print_data, sanitize, status_text
from meshwright.cli.traces import format_clock, format_milliseconds
from meshwright.control_plane.api import calls

LEVELS: Mapping[str, Level] = {"failed": "bad", "refused": "partial", "slow": "partial", "fine": "good"}

HOP_WIDTH = 52
"""Columns of a hop before its status."""


def why(
    id: Annotated[
        str, typer.Argument(metavar="ID", help="A request's x-request-id or trace ID, or a prefix of it.")
    ],
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Explain why a request failed or was slow: Envoy's response flag, the policy, its revision and author.

    Every response of the mesh carries its x-request-id, and so does every line of an access log. Failed
    requests and those of a second or more are kept for a while, others only while they are traced or tapped.

    \b
    Example:
      mesh why c8fe00fa-bdd8-9ba0-9c18-8b4dd66a7c87
      mesh why ce2269ae1c9a
    """
    explanation = call_api(calls.explain(id.strip()), state)
    if output is not Output.table:
        print_data(explanation, output)
        return
    for line in explanation_lines(explanation):
        echo(colorize(sanitize(line)))


def explanation_lines(explanation: Mapping[str, Any]) -> Iterator[str]:
    """An Explanation of the API as text."""
    yield status_text(LEVELS[explanation["verdict"]], explanation["summary"])
    yield ""
    yield f"request  {explanation['request'] or '-'}"
    yield f"trace    {explanation['trace'] or '-'}"
    yield f"started  {format_clock(explanation['time'])}"
    yield ""
    for cause in explanation["causes"]:
        yield from _cause_lines(cause)
    yield ""
    for hop in explanation["hops"]:
        yield _hop_line(hop)


def _cause_lines(cause: Mapping[str, Any]) -> Iterator[str]:
    edge = " → ".join(dict.fromkeys(name for name in (cause["caller"], cause["callee"]) if name))
    flag = f"{cause['flag']}  " if cause["flag"] else ""
    yield f"{flag}{cause['message']}"
    reporter = cause["proxy"] or cause["service"]
    yield f"    reported by {reporter}{f', {edge}' if edge not in ('', reporter) else ''}"
    yield from (f"    {instance}" for instance in cause["instances"])
    for policy in cause["policies"]:
        yield from _policy_lines(policy)


def _policy_lines(policy: Mapping[str, Any]) -> Iterator[str]:
    excerpt = f" ({policy['excerpt']})" if policy["excerpt"] else ""
    yield f"    {policy['kind']} {policy['name']}{excerpt}"
    if policy["revision"]:
        changed = (
            time.strftime(", %Y-%m-%d %H:%M:%S", time.localtime(policy["time"])) if policy["time"] else ""
        )
        author = f", by {policy['author']}" if policy["author"] else ""
        message = f": {policy['message']}" if policy["message"] else ""
        yield f"        revision {policy['revision']}{author}{changed}{message}"


def _hop_line(hop: Mapping[str, Any]) -> str:
    """A hop of the request: proxy, target, status, response flags, duration and self time."""
    level: Level = "bad" if hop["failed"] else "partial" if hop["status"] >= 400 else "good"
    proxy = hop["proxy"] or hop["service"]
    target = "its app" if hop["direction"] == "inbound" else hop["callee"] or "(no route)"
    flags = f" {','.join(hop['flags'])}" if hop["flags"] else ""
    attempts = f", {hop['attempts']} attempts" if hop["attempts"] > 1 else ""
    head = f"{'  ' * hop['depth']}{SIGNS[level]} {proxy} → {target}  {hop['request']}"
    self_time = f"self {format_milliseconds(hop['self_time'])}{attempts}"
    status = hop["grpc_status"] or hop["status"] or "-"
    return f"{head:<{HOP_WIDTH}}  {status}{flags}  {format_milliseconds(hop['duration'])} ({self_time})"
