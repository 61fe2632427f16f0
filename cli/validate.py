"""`mesh validate`: check policy files without a control plane."""

from __future__ import annotations

from typing import Annotated

import typer

from meshwright.cli import output
from meshwright.cli.documents import read_documents


def validate(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Files, folders, or - for stdin.")],
) -> None:
    """Check policy files without a control plane; every problem is told with its line and column.

    \b
    Example:
      mesh validate policies/
      cat retry.yaml | mesh validate -
    """
    count = len(read_documents(paths).documents)
    output.echo(f"{count} document{'' if count == 1 else 's'} valid")
