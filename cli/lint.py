"""`mesh lint`: what the policies in force do together that nobody meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    routes that no request reaches, and calls that Authorizations now refuse. `mesh diff` shows the findings
    that a change adds.

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
        f"{finding['severity']}: {finding['message']} ({finding['rule']}: {', '.join(finding['policies'])})"
        for finding in findings
    ]
