"""`mesh dash`: the dashboard, in this terminal or in a browser."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from meshwright.cli.errors import warn
from meshwright.cli.options import StateOption, author
from meshwright.cli.output import echo, flush
from meshwright.cli.python_module import module_command
from meshwright.control_plane.api import errors, mesh_locator
from meshwright.control_plane.api.auth import LOOPBACK
from meshwright.control_plane.api.contexts import read_contexts
from meshwright.control_plane.api.mesh_locator import ApiEndpoint
from meshwright.control_plane.errors import InputError


class ThemeName(StrEnum):
    """The themes of the dashboard."""

    dark = "dark"
    light = "light"
    contrast = "contrast"


WEB_PORT = 15081
"""The default port of `mesh dash --web`."""


def dash(  # noqa: PLR0917  options of a command
    read_only: Annotated[bool, typer.Option("--read-only", help="Disable all changes.")] = False,
    theme: Annotated[ThemeName, typer.Option("--theme", help="Colour theme.")] = ThemeName.dark,
    web: Annotated[
        bool, typer.Option("--web", help="Serve a browser, protected by the mesh's token.")
    ] = False,
    bind: Annotated[
        str, typer.Option("--bind", metavar="ADDR", help="With --web: address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            "--port",
            metavar="PORT",
            min=0,
            max=65535,
            help="With --web: port to listen on; 0 picks a free one.",
        ),
    ] = WEB_PORT,
    state: StateOption = None,
) -> None:
    """Open the dashboard: topology, services, traces, policies, sidecars, events.

    Keys: 1 to 6 switch screens, / searches, : jumps to a name, ? shows help, ctrl+p lists commands, Esc goes
    back, q quits. The mesh is located as for every command: `mesh context --help` has the order. While no
    control plane responds, the dashboard waits for one. A read-only token implies --read-only.

    --web serves a browser until Ctrl-C. The link that it prints signs in one browser, once; others ask for
    the token of this dashboard (STATE/admin.token, or the one in MESH_TOKEN_FILE). It is plain HTTP: keep it
    on loopback, and use an SSH tunnel from another machine.

    \b
    Example:
      mesh dash
      mesh dash --read-only --theme light
      mesh dash --web --port 15081
    """
    locate = partial(mesh_locator.locate_mesh, os.environ, state)
    locate()
    if web:
        _serve(locate, _dashboard_command(read_only, theme, state), bind, port)
        return
    while True:
        context, return_code = _run_dashboard(locate, read_only, theme)
        if return_code:
            raise typer.Exit(return_code)
        if not context:
            return
        locate = partial(_locate_context, context)


def _run_dashboard(
    locate: Callable[[], ApiEndpoint], read_only: bool, theme: ThemeName
) -> tuple[str, int | None]:
    """Show a mesh until the user leaves it: for another context, or none, and the exit code.

    A browser has signed in to one mesh: it gets no other.
    """
    gc.disable()  # what modules make stays: looking for garbage in it takes a sixth of the time of imports
    from meshwright.tui.app import DashboardApp
    from meshwright.tui.web import SERVER_PID_ENV

    gc.freeze()
    gc.enable()
    jaeger = os.environ.get("MESH_JAEGER_UI", "")
    app = DashboardApp(locate, read_only=read_only, theme_name=theme.value, author=author(), jaeger=jaeger)
    if SERVER_PID_ENV not in os.environ:
        app.contexts = tuple(sorted(read_contexts(os.environ).contexts))
    app.run()
    return app.next_context, app.return_code


def _locate_context(name: str) -> ApiEndpoint:
    """The mesh of a context, as the file has it now."""
    return mesh_locator.endpoint_of(read_contexts(os.environ).get(name))


def _dashboard_command(read_only: bool, theme: ThemeName, state: Path | None) -> list[str]:
    """The command line of a dashboard with these options."""
    arguments = ["dash", "--theme", theme.value]
    if read_only:
        arguments.append("--read-only")
    if state:
        arguments += ["--state", str(state.absolute())]
    return list(module_command("cli", *arguments))


def _serve(locate: Callable[[], ApiEndpoint], command: list[str], bind: str, port: int) -> None:
    """Serve until Ctrl-C; raises InputError if the port is taken or a dependency is missing."""
    try:
        from meshwright.tui.web.server import DashboardServer, serve
    except ImportError:
        raise InputError("mesh dash --web needs textual-serve: run pip install 'meshwright[web]'") from None
    if bind not in LOOPBACK:
        warn(f"warning: traffic to {bind} is not encrypted, the token included: prefer an SSH tunnel")
    hosts = {bind, socket.gethostname(), os.environ.get("MESH_ADVERTISE", "")} - {"0.0.0.0", "::", ""}

    server = DashboardServer(locate, command, hosts)

    def print_address(address: str) -> None:
        echo(f"open {address}#{server.code}")
        echo(
            "This link works once. Any other browser asks for the token of the mesh. Ctrl-C stops the server."
        )
        flush()

    try:
        asyncio.run(serve(server, bind=bind, port=port, ready=print_address))
    except OSError as error:
        text = errors.os_error_text(error)
        raise InputError(f"--bind {bind} --port {port}: {text}: choose another address or port") from None
