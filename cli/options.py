"""Options that several verbs share, so that they are spelled alike."""

from __future__ import annotations

import getpass
import socket
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Output(StrEnum):
    """How a list is printed."""

    table = "table"
    json = "json"
    yaml = "yaml"


StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state", metavar="DIR", help="The mesh's state directory. [default: $MESH_STATE or ./.mesh]"
    ),
]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="table, json or yaml.")]
FilesOption = Annotated[
    list[str],
    typer.Option(
        "--file", "-f", metavar="PATH", help="A file, a folder of *.yaml, *.yml, *.json, or - for stdin."
    ),
]
MessageOption = Annotated[str, typer.Option("--message", "-m", metavar="WHY", help="Why, for the history.")]
WaitOption = Annotated[bool, typer.Option("--wait", help="Return when every connected sidecar has taken it.")]
TimeoutOption = Annotated[float, typer.Option("--timeout", min=0, max=600, help="Seconds for --wait.")]
BaseOption = Annotated[
    int | None,
    typer.Option("--base", min=0, metavar="REV", help="Exit 6 unless REV is still the newest revision."),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Let the control plane check; change nothing.")]


def author() -> str:
    """Who runs this command, as `user@host`."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"[:200]
