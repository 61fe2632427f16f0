"""Options that several commands share."""

from __future__ import annotations

import getpass
import os
import socket
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from meshwright.cli.durations import duration_parser

MAX_AUTHOR = 200
"""Characters of an author that the admin API accepts."""


class Output(StrEnum):
    """The format of what a command prints."""

    table = "table"
    json = "json"
    yaml = "yaml"


StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state", metavar="DIR", help="State directory of the mesh. [default: $MESH_STATE or ./.mesh]"
    ),
]
AllOption = Annotated[bool, typer.Option("--all", help="Also show idle services.")]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="Output format.")]
FilesOption = Annotated[
    list[str],
    typer.Option(
        "--file",
        "-f",
        metavar="PATH",
        help="A file, a folder of *.yaml, *.yml and *.json files, or - for stdin. Repeatable.",
    ),
]
SkipUnknownOption = Annotated[
    bool,
    typer.Option("--skip-unknown", help="Skip documents of kinds that the mesh does not implement."),
]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="Also list the fields of documents that are ignored.")
]
PruneOption = Annotated[
    bool,
    typer.Option(
        "--prune",
        help="Delete what is not in the files: policies with all of --label, or with --expect-revision any.",
    ),
]
LabelOption = Annotated[
    list[str],
    typer.Option("--label", metavar="KEY=VALUE", help="For --prune: a label in metadata.labels. Repeatable."),
]
MessageOption = Annotated[
    str,
    typer.Option("--message", "-m", metavar="TEXT", help="Reason for the change, shown by `mesh history`."),
]
WaitOption = Annotated[
    bool, typer.Option("--wait", help="Wait until every connected sidecar has ACKed the revision.")
]
TimeoutOption = Annotated[
    float,
    typer.Option(
        "--timeout",
        metavar="DURATION",
        parser=duration_parser(0, 600),
        show_default=False,
        help="How long --wait waits. [default: 30s]",
    ),
]
BaseOption = Annotated[
    int | None,
    typer.Option(
        "--expect-revision",
        min=0,
        metavar="REV",
        help="Fail with exit code 6 unless REV is the newest revision.",
    ),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Validate in the control plane without changing anything.")
]
StrictOption = Annotated[
    bool | None,
    typer.Option(
        "--strict/--no-strict",
        help="Apply nothing if a name in the files refers to nothing. [default: with --wait]",
        show_default=False,
    ),
]
NoVerifyOption = Annotated[
    bool, typer.Option("--no-verify", help="Do not ask an Envoy first whether it accepts the configuration.")
]
ImmediateOption = Annotated[
    bool, typer.Option("--immediate", help="Push it to all sidecars at once, not in waves.")
]


def author() -> str:
    """Who runs this command: `$MESH_AUTHOR`, else `user@host`. With sudo the user who called it.

    In a container all people are one user, perhaps a uid without a name.
    """
    return (os.environ.get("MESH_AUTHOR") or f"{_user()}@{socket.gethostname()}")[:MAX_AUTHOR]


def _user() -> str:
    if os.geteuid() == 0 and os.environ.get("SUDO_USER"):
        return os.environ["SUDO_USER"]
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid-{os.geteuid()}"
