"""`mesh schema`: what the documents of a kind look like. Needs no control plane."""

from __future__ import annotations

from typing import Annotated

import typer

from meshwright.cli import output as output_module
from meshwright.cli.options import Output, OutputOption
from meshwright.control_plane.errors import InputError


def schema(
    kind: Annotated[
        str, typer.Argument(help="A kind in any case, singular or plural; all are listed without.")
    ] = "",
    explain: Annotated[
        bool, typer.Option("--explain", help="Its documentation and an example instead.")
    ] = False,
    output: OutputOption = Output.json,
) -> None:
    """Show the JSON Schema of a kind, or its documentation and an example.

    \b
    Example:
      mesh schema Retry --explain
      mesh schema httproute -o yaml
    """
    from meshwright.control_plane.admin.policy_validation import kind_of
    from meshwright.control_plane.policies import schema as documentation
    from meshwright.control_plane.policies.registry import kinds

    if not kind:
        if explain:
            raise InputError(f"name the kind to explain: one of {', '.join(kinds())}")
        output_module.echo("\n".join(kinds()))
        return
    name = kind_of(kind)
    if explain:
        output_module.echo(documentation.explain(name))
    else:
        output_module.print_data(
            documentation.schema(name), Output.json if output is Output.table else output
        )
