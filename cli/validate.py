"""`mesh validate`: check policy and application files offline."""

from __future__ import annotations

from typing import Annotated

import typer

from meshwright.cli.application import Application
from meshwright.cli.documents import read_documents
from meshwright.cli.options import FilesOption, SkipUnknownOption, VerboseOption
from meshwright.cli.output import echo
from meshwright.control_plane.policies.registry import kinds


def validate(
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="Files, folders, or - for stdin.")] = [],  # noqa: B006  typer copies it
    *,
    files: FilesOption = [],  # noqa: B006  typer copies it
    skip_unknown: SkipUnknownOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Check policy and application files without a control plane.

    Every problem is reported with its line and column.

    \b
    Example:
      mesh validate policies/
      mesh validate -f retry.yaml -f mesh.yaml
      cat retry.yaml | mesh validate -
    """
    loaded = read_documents(
        [*paths, *files],
        allowed_kinds={**kinds(), Application.__name__: Application},
        skip_unknown=skip_unknown,
        verbose=verbose,
    )
    count = len(loaded.documents)
    echo(f"{count} {'document' if count == 1 else 'documents'} valid")
