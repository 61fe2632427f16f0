"""`mesh validate`: check policies, application files and policy tests offline."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from meshwright.cli.documents import InvalidFilesError, read_documents
from meshwright.cli.errors import exit_code
from meshwright.cli.file_kinds import FILE_KINDS
from meshwright.cli.options import FilesOption, Output, SkipUnknownOption, VerboseOption
from meshwright.cli.output import echo, print_data
from meshwright.control_plane.policies.loader import DocumentProblem
from meshwright.control_plane.policies.registry import kinds


class Report(StrEnum):
    """How problems are printed."""

    text = "text"
    json = "json"
    github = "github"


def validate(
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="Files, folders, or - for stdin.")] = [],  # noqa: B006  typer copies it
    *,
    files: FilesOption = [],  # noqa: B006  typer copies it
    skip_unknown: SkipUnknownOption = False,
    verbose: VerboseOption = False,
    envoy: Annotated[
        bool, typer.Option("--envoy", help="Also ask an Envoy whether it accepts what the policies make.")
    ] = False,
    output: Annotated[
        Report,
        typer.Option(
            "--output",
            "-o",
            help="text: lines on stderr; json: on stdout; github: annotations of GitHub Actions.",
        ),
    ] = Report.text,
) -> None:
    """Check policies, application files and policy tests without a control plane.

    Every problem is reported with its line and column. With --envoy, an Envoy of this host that serves
    nothing is given what the policies make, for the services in the application files and those that policies
    name. About a mesh that runs, `mesh apply --dry-run` and `mesh diff` say more.

    \b
    Example:
      mesh validate policies/
      mesh validate --envoy policies/ mesh.yaml
      mesh validate -f retry.yaml -f mesh.yaml
      mesh validate policies/ -o github
      cat retry.yaml | mesh validate -
    """
    try:
        loaded = read_documents(
            [*paths, *files],
            allowed_kinds=kinds() | FILE_KINDS,
            skip_unknown=skip_unknown,
            verbose=verbose,
        )
        if envoy:
            from meshwright.cli.envoy_check import check_with_envoy

            check_with_envoy(loaded)
    except InvalidFilesError as error:
        if output is Report.text:
            raise
        _print(error.problems, 0, output)
        raise typer.Exit(exit_code(error)) from None
    _print((), len(loaded.documents), output)


def _print(problems: Sequence[DocumentProblem], valid: int, output: Report) -> None:
    """Print the problems, or how many documents are valid."""
    if output is Report.json:
        items = [
            {"file": item.path, "line": item.line, "column": item.column, "message": item.message}
            for item in problems
        ]
        print_data({"valid": not items, "documents": valid, "problems": items}, Output.json)
    elif problems:
        echo("\n".join(map(annotation, problems)))
    else:
        echo(f"{valid} {'document' if valid == 1 else 'documents'} valid")


def annotation(problem: DocumentProblem) -> str:
    """A problem as a workflow command of GitHub Actions, which shows it beside the line of the change.

    Values are escaped as GitHub's toolkit does: `%` and line ends, and `:` and `,` in properties.
    """
    message = problem.message.replace("%", "%25")
    path = problem.path.replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
    return f"::error file={path},line={problem.line},col={problem.column}::{message}"
