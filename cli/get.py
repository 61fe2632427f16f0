"""`mesh get`: the current policies."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from meshwright.cli.apply import split_ref
from meshwright.cli.http import call_api
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.cli.output import echo, print_data, print_table
from meshwright.control_plane.api import calls
from meshwright.control_plane.api.target_refs import target_summary


def get(
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="A kind in any case, singular or plural. [default: all]")
    ] = "",
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of one policy.")] = "",
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Show the current policies: all of them, those of a kind, or one. The YAML output can be applied again:
    a secret that reads <redacted> stays what it is in the mesh.

    \b
    Example:
      mesh get
      mesh get httproutes
      mesh get retry inventory-retry -o yaml
    """
    kind, name = split_ref(kind, name)
    documents = call_api(calls.policies(kind, name), state)["documents"]
    print_documents(documents, output, single=bool(name))


def print_documents(documents: list[dict[str, Any]], output: Output, *, single: bool = False) -> None:
    """Print documents as a table, as a JSON list (or a single object), or as a YAML stream."""
    if output is Output.json:
        print_data(documents[0] if single else documents, output)
    elif output is Output.yaml:
        from meshwright.control_plane.api.yaml.dump import dump_yaml

        echo(dump_yaml(documents) if documents else "")
    elif documents:
        rows = [(d["kind"], d["metadata"]["name"], target_summary(d["spec"])) for d in documents]
        print_table(("KIND", "NAME", "TARGET"), rows)
    else:
        echo("no policies")
