"""`mesh schema`: the schemas of policies, application files and policy tests. Needs no control plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from meshwright.cli.options import Output, OutputOption
from meshwright.cli.output import echo, print_data
from meshwright.control_plane.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meshwright.control_plane.policies.base import Policy


def schema(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="A kind in any case, or a field of one: retry.spec.backoff. [default: list all kinds]",
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
    every: Annotated[
        bool, typer.Option("--all", help="One schema for documents of any kind, for editors.")
    ] = False,
    output: OutputOption = Output.json,
) -> None:
    """Show the JSON Schema of a kind, or its documentation with an example, or that of one field.

    \b
    Example:
      mesh schema httproute.spec.rules
      mesh schema Retry --explain
      mesh schema --all > mesh.schema.json
      mesh schema envoy cluster.v3.Cluster.connect_timeout
    """
    if kind.lower() == "envoy":
        from meshwright.cli import envoy_schema

        echo(envoy_schema.explain(field))
        return
    if field:
        raise InputError(f"unexpected {field!r}: `mesh schema {kind} --explain` describes every field")
    if not (kind or every):
        _list_kinds(explain=explain)
        return
    from meshwright.control_plane.policies import schema as documentation

    models = _models()
    format_ = Output.json if output is Output.table else output
    if every:
        if kind or explain:
            raise InputError("--all is the schema of every kind: leave out the kind and --explain")
        print_data(documentation.schema_of_any(models[name] for name in sorted(models)), format_)
    else:
        kind, _, path = kind.partition(".")
        model = models[_name(kind)]
        if path:
            echo(documentation.explain_field(model, path))
        elif explain:
            echo(documentation.explain(model, _example(model.__name__)))
        else:
            print_data(documentation.schema(model), format_)


def _list_kinds(*, explain: bool) -> None:
    """Print the names of all kinds; raises InputError for --explain, which needs one of them."""
    from meshwright.cli.file_kinds import FILE_KIND_NAMES
    from meshwright.control_plane.policies.registry import kind_names

    names = sorted((*kind_names(), *FILE_KIND_NAMES))
    if explain:
        raise InputError(f"--explain needs a kind: one of {', '.join(names)}")
    echo("\n".join(names))


def _models() -> Mapping[str, type[Policy]]:
    """Every kind that a file of a user may contain, each loaded when it is looked up."""
    from meshwright.cli.file_kinds import FILE_KINDS
    from meshwright.control_plane.policies.registry import kinds

    return kinds() | FILE_KINDS


def _name(word: str) -> str:
    """The kind for a word in any case, singular or plural; raises NotFoundError."""
    from meshwright.cli.file_kinds import file_kind
    from meshwright.control_plane.policies.kind_names import kind_of

    return file_kind(word) or kind_of(word)


def _example(kind: str) -> str:
    from meshwright.cli.file_kinds import FILE_KINDS, file_example
    from meshwright.control_plane.policies.registry import example

    return file_example(kind) if kind in FILE_KINDS else example(kind)
