"""`mesh diff`: what an apply would change."""

from __future__ import annotations

import typer

from cli import console
from cli.connection import ask
from cli.documents import load
from cli.options import FilesOption, Output, OutputOption, StateOption
from control_plane.api import operations


def diff(files: FilesOption, output: OutputOption = Output.table, state: StateOption = None) -> None:
    """Show what an apply would change: in policies, and in Envoy's resources.

    \b
    Exit codes: 0 nothing would change · 1 something would

    \b
    Example:
      mesh diff -f policies/
    """
    reply = ask(operations.diff(load(files)), state)
    if output is Output.table:
        for text in (reply["documents"], reply["resources"]):
            if text:
                console.emit(text)
    else:
        console.data(reply, output)
    if any(change["action"] != "unchanged" for change in reply["changed"]):
        raise typer.Exit(1)
