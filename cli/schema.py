"""`mesh schema`: the schema of a policy kind. Needs no control plane."""

from __future__ import annotations

from typing import Annotated

import typer

from meshwright.cli.options import Output, OutputOption
from meshwright.cli.output import echo, print_data
from meshwright.control_plane.errors import InputError


def schema(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND", help="A kind in any case, singular or plural. [default: list all kinds]"
        ),
    ] = "",
    field: Annotated[
        str,
        typer.Argument(
            metavar="FIELD", help="After `envoy`: a message or field of Envoy's own configuration."
        ),
    ] = "",
    explain: Annotated[
        bool, typer.Option("--explain", help="Print the documentation and an example instead.")
    ] = False,
    output: OutputOption = Output.json,
) -> None:
    """Show the JSON Schema of a kind, or its documentation with an example.

    \b
    Example:
      mesh schema Retry --explain
      mesh schema httproute -o yaml
      mesh schema envoy cluster.v3.Cluster.connect_timeout
    """
    from meshwright.cli.documents import NOT_A_POLICY
    from meshwright.control_plane.admin.policy_validation import kind_of
    from meshwright.control_plane.policies import schema as documentation
    from meshwright.control_plane.policies.registry import kinds

    if kind.lower() == "envoy":
        from meshwright.cli import envoy_schema

        echo(envoy_schema.explain(field))
        return
    if field:
        raise InputError(f"unexpected {field!r}: `mesh schema {kind} --explain` describes every field")
    if not kind:
        if explain:
            raise InputError(f"--explain needs a kind: one of {', '.join(kinds())}")
        echo("\n".join(kinds()))
        return
    if kind.lower() == "application":
        raise InputError(NOT_A_POLICY)
    name = kind_of(kind)
    if explain:
        echo(documentation.explain(name))
    else:
        print_data(documentation.schema(name), Output.json if output is Output.table else output)
