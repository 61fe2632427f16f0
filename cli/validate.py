"""`mesh validate`: check policy files offline."""

from __future__ import annotations

from typing import Annotated

import typer

from meshwright.cli.documents import read_documents
from meshwright.cli.options import FilesOption, SkipUnknownOption, VerboseOption
from meshwright.cli.output import echo


def validate(
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="Files, folders, or - for stdin.")] = [],  # noqa: B006  typer copies it
    *,
    files: FilesOption = [],  # noqa: B006  typer copies it
    skip_unknown: SkipUnknownOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Check policy files without a control plane. Every problem is reported with its line and column.

    \b
    Example:
      mesh validate policies/
      mesh validate -f retry.yaml -f timeout.yaml
      cat retry.yaml | mesh validate -
    """
    loaded = read_documents([*paths, *files], skip_unknown=skip_unknown, verbose=verbose)
    count = len(loaded.documents)
    echo(f"{count} {'document' if count == 1 else 'documents'} valid")
