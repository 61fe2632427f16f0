"""`mesh diff`: what an apply would change."""

from __future__ import annotations

import typer

from meshwright.cli import output as output_module
from meshwright.cli.documents import load_documents
from meshwright.cli.http import call_api
from meshwright.cli.options import FilesOption, Output, OutputOption, StateOption
from meshwright.control_plane.api import calls


def diff(files: FilesOption, output: OutputOption = Output.table, state: StateOption = None) -> None:
    """Show what an apply would change: in policies, and in Envoy's resources.

    \b
    Exit codes: 0 nothing would change · 1 something would

    \b
    Example:
      mesh diff -f policies/
    """
    reply = call_api(calls.diff(load_documents(files)), state)
    if output is Output.table:
        for text in (reply["documents"], reply["resources"]):
            if text:
                output_module.echo(text)
    else:
        output_module.print_data(reply, output)
    if any(change["action"] != "unchanged" for change in reply["changed"]):
        raise typer.Exit(1)
