"""The `mesh` command. A command's module is imported only when it is called, so that help is fast."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer import core

from meshwright.cli.errors import INTERRUPTED, exit_code, print_error, warn
from meshwright.cli.usage import Click, MeshCommand, plain_message
from meshwright.control_plane.errors import MeshError


class CommandEntry(NamedTuple):
    """A command: its module in `meshwright.cli`, its function or Typer app, its line in `mesh --help`."""

    module: str
    attribute: str
    summary: str


COMMANDS = {
    "agent": CommandEntry("agent", "agent", "Run a sidecar for an app that something else starts."),
    "apply": CommandEntry("apply", "apply", "Create or update policies from files, all or none."),
    "at": CommandEntry("at", "app", "Show the mesh as it was at a time of the last hours."),
    "authz": CommandEntry("authz", "app", "Show who may call what, and check or suggest it."),
    "backup": CommandEntry(
        "backup.command", "backup", "Write a whole mesh to one encrypted file: CA, policies, history."
    ),
    "cert": CommandEntry("cert", "app", "Make certificates for gateways."),
    "completion": CommandEntry(
        "completion.scripts", "completion", "Print the completion script of bash, zsh or fish."
    ),
    "consul": CommandEntry("consul", "consul", "Serve Consul's API to the applications of this host."),
    "context": CommandEntry("context", "app", "Name meshes, and choose the one that commands are about."),
    "convert": CommandEntry("convert.command", "app", "Convert another mesh's configuration to policies."),
    "dash": CommandEntry("dash", "dash", "Open the dashboard, in the terminal or a browser."),
    "delete": CommandEntry("apply", "delete", "Delete policies, all or none."),
    "demo": CommandEntry("demo", "demo", "Start the demo shop in the foreground."),
    "diff": CommandEntry("diff", "diff", "Show what an apply would change."),
    "doctor": CommandEntry("doctor.command", "doctor", "Check host and mesh: what is wrong and what to do."),
    "down": CommandEntry("down", "down", "Stop the mesh that `mesh up` started."),
    "edit": CommandEntry("edit", "edit", "Edit a policy in your editor, and apply it."),
    "events": CommandEntry("events", "events", "Show recent events, and with -f new ones."),
    "explain": CommandEntry("explain", "explain", "Explain what becomes of a request, before it is sent."),
    "export": CommandEntry("gitops.export", "export", "Write all policies to a folder, a file for each."),
    "forget": CommandEntry("forget", "forget", "Remove a service that has no instances."),
    "get": CommandEntry("get", "get", "Show the current policies."),
    "grafana": CommandEntry("export", "grafana", "Export the Grafana dashboards."),
    "history": CommandEntry("revisions", "history", "List revisions: author, time, message."),
    "intercept": CommandEntry(
        "intercept", "intercept", "Take some of a service's requests to a process of your own."
    ),
    "lint": CommandEntry("lint", "lint", "Find policies that do harm together, by the calls that were seen."),
    "prometheus": CommandEntry(
        "export", "prometheus", "Export the Prometheus rules and a scrape configuration."
    ),
    "logs": CommandEntry("logs", "logs", "Show the logs of apps and Envoys, of all instances by time."),
    "proxies": CommandEntry("proxies", "proxies", "List every proxy, unhealthy ones first."),
    "proxy": CommandEntry(
        "proxy", "proxy", "Inspect a sidecar: configuration, statistics, logs; or evict it."
    ),
    "ps": CommandEntry("ps", "ps", "List the instances: state, restarts, age, host and process."),
    "restart": CommandEntry("restart", "restart", "Restart a service, one instance at a time."),
    "push": CommandEntry("push", "app", "Show, pause, resume or abort the push of a revision."),
    "restore": CommandEntry("backup.command", "restore", "Make a stopped mesh what a backup says."),
    "rollback": CommandEntry("revisions", "rollback", "Undo the last change, or restore an old revision."),
    "rollout": CommandEntry("rollout", "app", "Show and steer rollouts of new versions."),
    "run": CommandEntry("run", "run", "Run a process as part of a running mesh."),
    "scale": CommandEntry("reconcile.commands", "scale", "Run another number of instances of a service."),
    "schema": CommandEntry("schema", "schema", "Show the JSON Schema of a kind, or explain it."),
    "show": CommandEntry("revisions", "show", "Show one revision."),
    "start": CommandEntry("reconcile.commands", "start", "Start a service that `mesh stop` has stopped."),
    "status": CommandEntry("status", "status", "Show the state of services, sidecars and policies."),
    "stop": CommandEntry("reconcile.commands", "stop", "Drain and stop the instances of a service."),
    "store": CommandEntry("store", "app", "Repair the embedded store after a crash."),
    "support-bundle": CommandEntry(
        "support_bundle.command", "support_bundle", "Write one file for whoever helps, without secrets."
    ),
    "sync": CommandEntry("gitops.sync", "sync", "Keep policies as a folder or a git branch says."),
    "systemd": CommandEntry("export", "systemd", "Export the systemd units."),
    "tap": CommandEntry("tap", "tap", "Show a service's requests live."),
    "test": CommandEntry(
        "policy_tests.command", "test", "Test policies against real Envoys, without a mesh."
    ),
    "token": CommandEntry("token", "app", "Create, list and revoke join tokens."),
    "top": CommandEntry("top", "top", "Show every service live, unhealthy ones first."),
    "topology": CommandEntry(
        "topology", "topology", "Show the service graph with rate, success and latency."
    ),
    "trace": CommandEntry("trace", "trace", "Show one trace as a waterfall, with failures explained."),
    "traces": CommandEntry("traces", "traces", "Search traces."),
    "up": CommandEntry("up", "up", "Start a mesh on this host, or change the one that runs."),
    "upgrade": CommandEntry(
        "upgrade.command", "upgrade", "Replace the running mesh by the installed version, while it serves."
    ),
    "validate": CommandEntry("validate", "validate", "Check policies and application files offline."),
    "version": CommandEntry("version", "version", "Show the versions of all parts of the mesh."),
    "why": CommandEntry("why", "why", "Explain why a request failed or was slow, and by which policy."),
}

EPILOG = """\b
Example:
  mesh apply -f policies/ --wait
  mesh status"""


class LazyCommandGroup(core.TyperGroup):
    """A group that imports a command on use. Its help imports none."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # Only the names: typer suggests them for a misspelt command.
        self.commands = dict.fromkeys(COMMANDS)  # type: ignore[assignment]

    def list_commands(self, ctx: Click) -> list[str]:  # noqa: ARG002  click's signature
        """The names of all commands, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: Click, cmd_name: str) -> Click:  # noqa: ARG002  click's signature
        """Import a command; None if there is none with this name."""
        entry = COMMANDS.get(cmd_name)
        return None if entry is None else _load(cmd_name, entry)

    def format_commands(self, ctx: Click, formatter: Click) -> None:  # noqa: ARG002  click's signature
        """The commands' lines in the help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].summary) for name in sorted(COMMANDS)])


def _load(name: str, entry: CommandEntry) -> Click:
    target = getattr(import_module(f"meshwright.cli.{entry.module}"), entry.attribute)
    if not isinstance(target, typer.Typer):
        single = _typer()
        single.command(name, cls=MeshCommand, context_settings=_SETTINGS)(target)
        target = single
    command = typer.main.get_command(target)
    command.name = name
    return command


_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def _typer(**settings: Any) -> typer.Typer:
    return typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=_SETTINGS, **settings)


def _show_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(f"meshwright {version('meshwright')}")
        raise typer.Exit


def command() -> Callable[..., Any]:
    """The whole command line as one callable, the way click runs it."""
    app = _typer(cls=LazyCommandGroup, no_args_is_help=True, epilog=EPILOG)

    @app.callback()
    def mesh(
        version: bool = typer.Option(  # noqa: ARG001  its callback acts
            False, "--version", is_eager=True, callback=_show_version, help="Show the version and exit."
        ),
        context: str = typer.Option(
            "", "--context", metavar="CONTEXT", help="The mesh, by its name in `mesh context list`."
        ),
    ) -> None:
        """A service mesh: YAML policies that configure real Envoy sidecars."""
        if context:
            os.environ["MESH_CONTEXT"] = context

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
        if hasattr(error, "message"):
            error.message = plain_message(error.message)
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
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader is gone; the interpreter flushes at exit
        code = 1
    except Exception as error:
        warn(f"mesh failed: {type(error).__name__}: {error}; please report this")
        code = 1
    sys.exit(code)
