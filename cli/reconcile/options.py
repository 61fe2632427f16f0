"""Options of the commands that change what a mesh runs."""

from __future__ import annotations

from typing import Annotated

import typer

from meshwright.cli.durations import duration_parser
from meshwright.control_plane.errors import InputError

ChangeDryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")
]
ReadyTimeoutOption = Annotated[
    float,
    typer.Option(
        "--timeout",
        metavar="DURATION",
        parser=duration_parser(1, 600),
        show_default=False,
        help="How long what starts has to become ready. [default: 60s]",
    ),
]


def parse_name_number(option: str, text: str, maximum: int) -> tuple[str, int]:
    """Parse `NAME=N` of an option; raises InputError."""
    name, _, number = text.partition("=")
    if not name or not number.isdecimal() or int(number) > maximum:
        raise InputError(f"{option} {text}: expected NAME=N with N from 0 to {maximum}")
    return name, int(number)
