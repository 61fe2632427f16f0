"""The `mesh` command. Verbs are imported when they are called, so that each answers at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer import core

from meshwright.cli.errors import INTERRUPTED, exit_code, print_error, warn
from meshwright.control_plane.errors import MeshError

Click = Any
"""Typer carries its own copy of click, whose types it does not export."""


class CommandEntry(NamedTuple):
    """A verb: the module and the function (or Typer application) behind it, and its line in `mesh --help`."""

    module: str
    attribute: str
    summary: str


COMMANDS = {
    "agent": CommandEntry("meshwright.cli.agent", "agent", "Keep a sidecar beside an app that others start."),
    "apply": CommandEntry(
        "meshwright.cli.apply", "apply", "Create or change policies from files; all or none."
    ),
    "dash": CommandEntry(
        "meshwright.cli.dash", "dash", "Watch the mesh: the dashboard, in the terminal or a browser."
    ),
    "delete": CommandEntry("meshwright.cli.apply", "delete", "Delete policies; all or none."),
    "demo": CommandEntry("meshwright.cli.up", "demo", "Start the demo: a small exchange, in the foreground."),
    "diff": CommandEntry("meshwright.cli.diff", "diff", "Show what an apply would change."),
    "down": CommandEntry("meshwright.cli.up", "down", "Stop the mesh that `mesh up` started."),
    "events": CommandEntry(
        "meshwright.cli.events", "events", "Show what happened, and with -f what happens."
    ),
    "get": CommandEntry("meshwright.cli.get", "get", "Show the current policies."),
    "history": CommandEntry("meshwright.cli.revisions", "history", "List revisions: who, when, why."),
    "proxies": CommandEntry("meshwright.cli.proxies", "proxies", "Show every proxy, what is bad first."),
    "proxy": CommandEntry(
        "meshwright.cli.proxy", "proxy", "Look into one sidecar: configuration, statistics, logs, log level."
    ),
    "rollback": CommandEntry(
        "meshwright.cli.revisions", "rollback", "Make an old revision's policies the newest."
    ),
    "run": CommandEntry("meshwright.cli.run", "run", "Run any process as part of a running mesh."),
    "schema": CommandEntry(
        "meshwright.cli.schema", "schema", "Show the JSON Schema of a kind, or explain it."
    ),
    "show": CommandEntry("meshwright.cli.revisions", "show", "Show one revision."),
    "status": CommandEntry(
        "meshwright.cli.status", "status", "Show services, sidecars and policies as they stand."
    ),
    "tap": CommandEntry("meshwright.cli.tap", "tap", "Show a service's requests live."),
    "token": CommandEntry("meshwright.cli.token", "app", "Make, list and revoke join tokens."),
    "top": CommandEntry("meshwright.cli.top", "top", "Show how every service does, live, what is bad first."),
    "topology": CommandEntry(
        "meshwright.cli.topology", "topology", "Show who calls whom, how much, how well, how fast."
    ),
    "trace": CommandEntry(
        "meshwright.cli.trace", "trace", "Show one trace as a waterfall, failures explained."
    ),
    "traces": CommandEntry("meshwright.cli.traces", "traces", "Find traces."),
    "up": CommandEntry("meshwright.cli.up", "up", "Start a mesh on this host, in the foreground."),
    "validate": CommandEntry("meshwright.cli.validate", "validate", "Check files without a control plane."),
    "why": CommandEntry(
        "meshwright.cli.why", "why", "Say why a request failed or was slow, and by whose policy."
    ),
}

EPILOG = """\b
Example:
  mesh apply -f policies/ --wait
  mesh status"""


class LazyCommandGroup(core.TyperGroup):
    """A group whose commands are imported on use; its help needs none of them."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # only names: typer suggests them for a misspelt verb
        self.commands = dict.fromkeys(COMMANDS)  # type: ignore[assignment]

    def list_commands(self, ctx: Click) -> list[str]:  # noqa: ARG002  click's signature
        """The verbs' names, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: Click, cmd_name: str) -> Click:  # noqa: ARG002  click's signature
        """Import a verb; None when there is none of that name."""
        verb = COMMANDS.get(cmd_name)
        return None if verb is None else _load(cmd_name, verb)

    def format_commands(self, ctx: Click, formatter: Click) -> None:  # noqa: ARG002  click's signature
        """The verbs' lines in the help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].summary) for name in sorted(COMMANDS)])


def _load(name: str, verb: CommandEntry) -> Click:
    target = getattr(import_module(verb.module), verb.attribute)
    if not isinstance(target, typer.Typer):
        single = _typer()
        single.command(name, context_settings=_SETTINGS)(target)
        target = single
    command = typer.main.get_command(target)
    command.name = name
    return command


_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def _typer(**settings: Any) -> typer.Typer:
    return typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=_SETTINGS, **settings)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"meshwright {version('meshwright')}")
        raise typer.Exit


def command() -> Callable[..., Any]:
    """The whole command line as one callable, as click runs it."""
    app = _typer(cls=LazyCommandGroup, no_args_is_help=True, epilog=EPILOG)

    @app.callback()
    def mesh(
        version: bool = typer.Option(
            False, "--version", is_eager=True, callback=_show_version, help="Show the version and exit."
        ),
    ) -> None:
        """A service mesh: YAML policies that steer real Envoy sidecars."""

    return typer.main.get_command(app)


def run(arguments: Sequence[str]) -> int:
    """Run `mesh` with arguments; returns the exit code."""
    try:
        code = command()(args=list(arguments), prog_name="mesh", standalone_mode=False)
    except MeshError as error:
        print_error(error)
        return exit_code(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if not hasattr(error, "exit_code") or not hasattr(error, "show"):
            raise
        error.show()
        return int(error.exit_code)
    return code if isinstance(code, int) else 0


def main() -> None:
    """Entry point of the `mesh` script."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="replace")
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nobody reads on; let the interpreter flush in peace
        code = 1
    except Exception as error:
        warn(f"mesh failed: {type(error).__name__}: {error}; please report this")
        code = 1
    sys.exit(code)
