"""`mesh token create`: join tokens, with which an agent enrols one service or gateway."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli import console
from cli.connection import ask
from cli.failing import VerbError
from cli.options import StateOption
from control_plane.api import failures, operations
from control_plane.errors import InputError

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

DAY = 86400


@app.callback()
def token() -> None:
    """Make join tokens for services and gateways.

    \b
    Example:
      mesh token create --service orders --out orders.token
    """


@app.command()
def create(
    service: Annotated[
        str, typer.Option("--service", metavar="NAME", help="The service that may enrol.")
    ] = "",
    gateway: Annotated[
        str, typer.Option("--gateway", metavar="NAME", help="The gateway that may enrol.")
    ] = "",
    ttl: Annotated[
        float, typer.Option("--ttl", min=1, max=30 * DAY, help="Seconds until it expires.")
    ] = 3600.0,
    out: Annotated[
        str, typer.Option("--out", metavar="FILE", help="Where to write it (0600), or - for stdout.")
    ] = "",
    state: StateOption = None,
) -> None:
    """Make a join token for one service or one gateway. Whoever has it can enrol as that name.

    \b
    Example:
      mesh token create --service orders --ttl 600 --out orders.token
      mesh token create --gateway ingress --out - | ssh host2 'umask 77; cat > ingress.token'
    """
    if bool(service) == bool(gateway):
        raise InputError("name exactly one of --service and --gateway")
    if not out:
        raise InputError("name a file with --out FILE, or ask for stdout with --out -")
    role, name = ("service", service) if service else ("gateway", gateway)
    made = str(ask(operations.token(role, name, ttl), state)["token"])
    if out == "-":
        sys.stdout.write(made + "\n")
        return
    write_secret(Path(out), made + "\n")
    console.emit(f"join token of {role} {name}, valid for {ttl:g} s: {out}")


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner reads, replacing what was there at once."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise VerbError(failures.FAILED, f"{path}:1:1: cannot be written: {error.strerror}") from None
