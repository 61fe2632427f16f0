"""`mesh dash`: the dashboard in this terminal, or in a browser."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from meshwright.cli import output
from meshwright.cli.errors import warn
from meshwright.cli.options import StateOption, author
from meshwright.control_plane.api import errors, mesh_locator
from meshwright.control_plane.api.auth import LOOPBACK
from meshwright.control_plane.api.mesh_locator import ApiEndpoint
from meshwright.control_plane.errors import InputError


class ThemeName(StrEnum):
    """The themes that there are."""

    dark = "dark"
    light = "light"
    contrast = "contrast"


WEB_PORT = 15081
"""Where `mesh dash --web` listens unless it is told."""


def dash(  # noqa: PLR0917  options of a command
    read_only: Annotated[bool, typer.Option("--read-only", help="Show everything, change nothing.")] = False,
    theme: Annotated[ThemeName, typer.Option("--theme", help="dark, light or contrast.")] = ThemeName.dark,
    web: Annotated[bool, typer.Option("--web", help="In a browser, behind the mesh's token.")] = False,
    bind: Annotated[str, typer.Option("--bind", help="With --web: the address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="With --web: its port; 0: a free one.")
    ] = WEB_PORT,
    state: StateOption = None,
) -> None:
    """Watch a mesh: topology, services, traces, policies, sidecars, events.

    Keys: 1 to 6 the screens, / search, : jump to a name, ? help, ctrl+p every command, Esc back, q quit.
    It looks for the mesh like every verb: --state, MESH_API with MESH_TOKEN_FILE, MESH_STATE, ./.mesh.
    While no control plane answers it says so and waits. With a token that may only read it is --read-only.

    With --web it is served to a browser until Ctrl-C. The browser asks once for the token that it runs with
    (STATE/admin.token, or that of MESH_TOKEN_FILE). It is plain HTTP: leave it on loopback, reach it from
    afar through an SSH tunnel.

    \b
    Example:
      mesh dash
      mesh dash --read-only --theme light
      mesh dash --web --port 15081
    """
    find = partial(mesh_locator.locate_mesh, os.environ, state)
    find()
    if web:
        _serve(find, _dashboard_command(read_only, theme, state), bind, port)
        return
    from meshwright.tui.app import DashboardApp

    jaeger = os.environ.get("MESH_JAEGER_UI", "")
    DashboardApp(find, read_only=read_only, theme_name=theme.value, author=author(), jaeger=jaeger).run()


def _dashboard_command(read_only: bool, theme: ThemeName, state: Path | None) -> list[str]:
    """The command of a dashboard like this one in a process of its own."""
    command = [sys.executable, "-P", "-m", "meshwright.cli", "dash", "--theme", theme.value]
    if read_only:
        command.append("--read-only")
    return [*command, "--state", str(state.absolute())] if state else command


def _serve(find: Callable[[], ApiEndpoint], command: list[str], bind: str, port: int) -> None:
    """Until Ctrl-C; raises InputError when it cannot listen, or what it needs is not installed."""
    try:
        from meshwright.tui.web.server import DashboardServer, serve
    except ImportError:
        raise InputError(
            "mesh dash --web needs textual-serve: install it with pip install 'meshwright[web]'"
        ) from None
    if bind not in LOOPBACK:
        warn(f"whoever is on the way to {bind} can read what is sent, the token too: prefer a tunnel")
    names = {bind, socket.gethostname(), os.environ.get("MESH_ADVERTISE", "")} - {"0.0.0.0", "::", ""}

    def ready(address: str) -> None:
        output.echo(f"open {address} and give it the token of the mesh; Ctrl-C ends it")
        output.flush()

    try:
        asyncio.run(serve(DashboardServer(find, command, names), bind=bind, port=port, ready=ready))
    except OSError as error:
        raise InputError(
            f"--bind {bind} --port {port}: {errors.os_error_text(error)}: choose others"
        ) from None
