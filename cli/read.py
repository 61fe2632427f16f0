"""`mesh get`: the current policies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cli import console
from cli.connection import ask
from cli.options import Output, OutputOption, StateOption
from control_plane.api import operations


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
        rows = [(d["kind"], d["metadata"]["name"], _targets(d["spec"])) for d in documents]
        console.table(("KIND", "NAME", "FOR"), rows)
    else:
        console.emit("no policies")


def _targets(spec: Mapping[str, Any]) -> str:
    """What a document is attached to, or names, in few words."""
    refs = spec.get("targetRefs") or spec.get("parentRefs") or ()
    words = [
        f"{ref.get('kind', 'Gateway')}/{ref['name']}" if ref.get("name") else ref.get("kind", "")
        for ref in refs
    ]
    if callers := spec.get("from"):
        words.append(f"from {', '.join(callers)}")
    return ", ".join(words) or str(spec.get("service", ""))
