"""`mesh token create|list|revoke`: join tokens, which let an agent enrol one service or gateway."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from meshwright.cli.durations import duration_parser, format_duration
from meshwright.cli.errors import CommandError
from meshwright.cli.http import call_api
from meshwright.cli.options import Output, OutputOption, StateOption, author
from meshwright.cli.output import echo, print_items, print_table, status_text
from meshwright.cli.usage import MeshCommand
from meshwright.control_plane.api import calls, errors
from meshwright.control_plane.errors import InputError

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

MAX_TTL = 30 * 86_400.0

AGENT_TOKEN_TTL = 86_400.0
"""Lifetime in seconds of the tokens that `mesh` creates by itself: agents can enrol again after a suspend."""


@app.callback()
def token() -> None:
    """Create, list and revoke the join tokens of services and gateways.

    \b
    Example:
      mesh token create --service orders --out orders.token
      mesh token list
    """


@app.command(cls=MeshCommand)
def create(
    service: Annotated[
        str, typer.Option("--service", metavar="NAME", help="The service that may enrol.")
    ] = "",
    gateway: Annotated[
        str, typer.Option("--gateway", metavar="NAME", help="The gateway that may enrol.")
    ] = "",
    ttl: Annotated[
        float,
        typer.Option(
            "--ttl",
            metavar="DURATION",
            parser=duration_parser(1, MAX_TTL),
            show_default=False,
            help="Lifetime of the token, at most 30d. [default: 1h]",
        ),
    ] = 3600.0,
    out: Annotated[
        str, typer.Option("--out", metavar="FILE", help="File to write (mode 0600), or - for stdout.")
    ] = "",
    state: StateOption = None,
) -> None:
    """Create a join token for one service or gateway. Anyone who has it can enrol under that name.

    \b
    Example:
      mesh token create --service orders --ttl 10m --out orders.token
      mesh token create --gateway ingress --out - | ssh host2 'umask 77; cat > ingress.token'
    """
    if bool(service) == bool(gateway):
        raise InputError("give exactly one of --service and --gateway")
    if not out:
        raise InputError("give --out FILE, or --out - for stdout")
    role, name = ("service", service) if service else ("gateway", gateway)
    created = call_api(calls.create_token(role, name, ttl, author()), state)
    if out == "-":
        sys.stdout.write(f"{created['token']}\n")
        return
    write_secret(Path(out), f"{created['token']}\n")
    echo(f"join token {created['id']} for {role} {name}, valid for {format_duration(ttl)}: {out}")


@app.command(name="list", cls=MeshCommand)
def list_tokens(output: OutputOption = Output.table, state: StateOption = None) -> None:
    """List the join tokens, newest first. USES counts enrolments.

    The tokens themselves are only shown when they are created.

    \b
    Example:
      mesh token list -o json
    """
    tokens = call_api(calls.tokens(), state)["tokens"]
    if output is not Output.table:
        print_items(tokens, output)
        return
    if not tokens:
        echo("no join tokens")
        return
    rows = (
        (
            token["id"],
            f"{token['role']}/{token['name']}",
            _token_state(token),
            str(token["uses"]),
            token["author"],
        )
        for token in tokens
    )
    print_table(("ID", "TARGET", "STATE", "USES", "AUTHOR"), rows)


@app.command(cls=MeshCommand)
def revoke(
    id: Annotated[str, typer.Argument(metavar="ID", help="ID of the token, as listed by `mesh token list`.")],
    state: StateOption = None,
) -> None:
    """Reject a join token from now on. Sidecars that enrolled with it keep and renew their certificates.

    \b
    Example:
      mesh token revoke 3fa2c19d04b7e655
    """
    call_api(calls.revoke_token(id), state)
    echo(f"token {id} revoked")


def _token_state(token: dict[str, Any]) -> str:
    """Whether a token is valid, and for how long."""
    if token["revoked"]:
        return status_text("bad", "revoked")
    seconds_left = round(token["expires"] - time.time())
    if seconds_left <= 0:
        return status_text("off", "expired")
    return status_text("good", f"valid for {format_duration(seconds_left)}")


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner can read, replacing an old one atomically."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise CommandError(errors.FAILED, f"{path}: cannot be written: {error.strerror}") from None
