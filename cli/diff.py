"""`mesh diff`: preview an apply."""

from __future__ import annotations

import typer

from meshwright.cli.apply import print_warnings
from meshwright.cli.change_summary import change_summary
from meshwright.cli.documents import located, read_documents, sourced
from meshwright.cli.http import call_api
from meshwright.cli.options import (
    FilesOption,
    NoVerifyOption,
    Output,
    OutputOption,
    SkipUnknownOption,
    StateOption,
)
from meshwright.cli.output import echo, print_data, sanitize
from meshwright.control_plane.api import calls


def diff(
    files: FilesOption,
    *,
    skip_unknown: SkipUnknownOption = False,
    no_verify: NoVerifyOption = False,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Show what an apply would change: proxies and their traffic, policies, Envoy's configuration.

    \b
    Exit codes: 0 no change · 1 something would change

    \b
    Example:
      mesh diff -f policies/
    """
    loaded = read_documents(files, skip_unknown=skip_unknown)
    with located(loaded):
        result = call_api(calls.diff(sourced(loaded), verify=not no_verify), state)
    print_warnings(result)
    if output is Output.table:
        for line in change_summary(result):
            echo(sanitize(line))
        for text in (result["document_diff"], result["resource_diff"]):
            if text:
                echo(text)
    else:
        print_data(result, output)
    if any(change["action"] != "unchanged" for change in result["changed"]):
        raise typer.Exit(1)
