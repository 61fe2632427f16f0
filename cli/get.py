"""`mesh get`: the current policies."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from meshwright.cli import output as output_module
from meshwright.cli.http import call_api
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.control_plane.api import calls
from meshwright.control_plane.api.target_refs import target_summary


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
    documents = call_api(calls.policies(kind, name), state)["documents"]
    print_documents(documents, output, single=bool(name))


def print_documents(documents: list[dict[str, Any]], output: Output, *, single: bool = False) -> None:
    """Print documents as a table, as one JSON list (or one object), or as a YAML stream."""
    if output is Output.json:
        output_module.print_data(documents[0] if single else documents, output)
    elif output is Output.yaml:
        from meshwright.control_plane.api.yaml.dump import dump_yaml

        output_module.echo(dump_yaml(documents) if documents else "")
    elif documents:
        rows = [(d["kind"], d["metadata"]["name"], target_summary(d["spec"])) for d in documents]
        output_module.print_table(("KIND", "NAME", "FOR"), rows)
    else:
        output_module.echo("no policies")
