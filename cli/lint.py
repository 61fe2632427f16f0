"""`mesh lint`: what the policies in force do together that nobody meant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from typing import Any

import typer

from meshwright.cli.durations import format_duration
from meshwright.cli.http import call_api
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.cli.output import echo, print_data, sanitize
from meshwright.control_plane.api import calls


def lint(output: OutputOption = Output.table, state: StateOption = None) -> None:
    """Find policies that do harm together, by the calls of the last hour.

    Retries that multiply along a call path, callers that give up before the service they call, rules of
    routes that no request reaches, calls that Authorizations now refuse, limits of CircuitBreakers that no
    caller reaches, and policies that nothing uses. `mesh diff` shows the findings that a change adds.

    \b
    Exit codes: 0 no findings · 1 findings

    \b
    Example:
      mesh lint
    """
    report = call_api(calls.lint(), state)
    if output is not Output.table:
        print_data(report, output)
    elif report["findings"]:
        for line in finding_lines(report["findings"]):
            echo(sanitize(line))
    else:
        lately = format_duration(round(report["seconds"]))
        echo(f"no findings: revision {report['revision']}, by the calls of the last {lately}")
    if report["findings"]:
        raise typer.Exit(1)


def finding_lines(findings: Iterable[Mapping[str, Any]]) -> list[str]:
    """Each finding in a line, with the policies that cause it."""
    return [
        f"{finding['severity']}: {finding['message']} ({finding['rule']}: {', '.join(_located(finding))})"
        for finding in findings
    ]


def _located(finding: Mapping[str, Any]) -> Iterator[str]:
    """The policies, each with where it was applied from if that is known."""
    for ref, source in zip_longest(finding["policies"], finding.get("sources", ()), fillvalue=""):
        yield f"{ref} at {source}" if source else ref
