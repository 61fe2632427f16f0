"""`mesh token create|list|revoke`: join tokens, with which an agent enrols one service or gateway."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from meshwright.cli import output as output_module
from meshwright.cli.errors import CommandError
from meshwright.cli.http import call_api
from meshwright.cli.options import Output, OutputOption, StateOption, author
from meshwright.control_plane.api import calls, errors
from meshwright.control_plane.errors import InputError

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

DAY = 86400


@app.callback()
def token() -> None:
    """Make, list and revoke join tokens of services and gateways.

    \b
    Example:
      mesh token create --service orders --out orders.token
      mesh token list
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
    made = call_api(calls.create_token(role, name, ttl, author()), state)
    if out == "-":
        sys.stdout.write(f"{made['token']}\n")
        return
    write_secret(Path(out), f"{made['token']}\n")
    output_module.echo(f"join token {made['id']} of {role} {name}, valid for {ttl:g} s: {out}")


@app.command(name="list")
def list_tokens(output: OutputOption = Output.table, state: StateOption = None) -> None:
    """List join tokens, newest first: their ids, whom they are for, how often they were used.

    The tokens themselves are shown once, when they are made. USES counts enrolments.

    \b
    Example:
      mesh token list -o json
    """
    found = call_api(calls.tokens(), state)["tokens"]
    if output is not Output.table:
        output_module.print_data(found, output)
        return
    if not found:
        output_module.echo("no join tokens")
        return
    rows = (
        (one["id"], f"{one['role']}/{one['name']}", _token_state(one), str(one["uses"]), one["author"])
        for one in found
    )
    output_module.print_table(("ID", "FOR", "STATE", "USES", "BY"), rows)


@app.command()
def revoke(
    id: Annotated[str, typer.Argument(metavar="ID", help="As `mesh token list` shows it.")],
    state: StateOption = None,
) -> None:
    """Refuse a join token from now on. Who enrolled with it keeps its certificate, and may renew it.

    \b
    Example:
      mesh token revoke 3fa2c19d04b7e655
    """
    call_api(calls.revoke_token(id), state)
    output_module.echo(f"token {id} is revoked")


def _token_state(token: dict[str, Any]) -> str:
    """How a token stands, with the time it has left."""
    if token["revoked"]:
        return output_module.status_text("bad", "revoked")
    seconds = round(token["expires"] - time.time())
    if seconds <= 0:
        return output_module.status_text("off", "expired")
    for size, unit in ((DAY, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return output_module.status_text("good", f"for {seconds // size} {unit}")
    return output_module.status_text("good", f"for {seconds} s")


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner reads, replacing what was there at once."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise CommandError(errors.FAILED, f"{path}:1:1: cannot be written: {error.strerror}") from None
