"""`mesh get`: the current policies."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli import console
from cli.connection import ask
from cli.options import Output, OutputOption, StateOption
from control_plane.api import operations
from control_plane.api.attached import targets


def get(
    kind: Annotated[
        str, typer.Argument(help="A kind in any case, singular or plural; all when left out.")
    ] = "",
    name: Annotated[str, typer.Argument(help="One document's name.")] = "",
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Show the current policies: all, of one kind, or one. YAML output can be applied again.

    \b
    Example:
      mesh get
      mesh get httproutes
      mesh get retry inventory-retry -o yaml
    """
    documents = ask(operations.policies(kind, name), state)["documents"]
    print_documents(documents, output, single=bool(name))


def print_documents(documents: list[dict[str, Any]], output: Output, *, single: bool = False) -> None:
    """Print documents as a table, as one JSON list (or one object), or as a YAML stream."""
    if output is Output.json:
        console.data(documents[0] if single else documents, output)
    elif output is Output.yaml:
        from control_plane.api.yaml_text import render

        console.emit(render(documents) if documents else "")
    elif documents:
        rows = [(d["kind"], d["metadata"]["name"], targets(d["spec"])) for d in documents]
        console.table(("KIND", "NAME", "FOR"), rows)
    else:
        console.emit("no policies")
