"""Runs a mesh until it is stopped: in the foreground, or as a detached copy of the command."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import structlog
import typer

from meshwright.cli.errors import INTERRUPTED, CommandError, warn
from meshwright.cli.launcher import LaunchPlan, MeshLauncher
from meshwright.cli.output import echo
from meshwright.cli.progress import print_line, print_progress
from meshwright.cli.python_module import module_command
from meshwright.cli.startup_summary import print_startup_summary
from meshwright.control_plane.api import errors
from meshwright.control_plane.api.private_files import private_folder
from meshwright.sidecar.files import log_path, tail

WhileRunning = Callable[[asyncio.Event], Awaitable[None]]
"""Runs while the mesh is ready. The mesh stops after it; it returns soon after the event is set."""


async def run_mesh(plan: LaunchPlan, ready_fd: int, while_running: WhileRunning | None = None) -> None:
    """Start a mesh, keep it until a signal comes or `while_running` returns, and stop it.

    `ready_fd` is written to when it is ready, unless it is negative. Raises CommandError if it cannot start.
    """
    silence_supervisor()
    stop = stop_event()
    started = time.monotonic()
    launcher = MeshLauncher(plan, print_progress)
    starting = asyncio.create_task(launcher.up())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            status = launcher.agent_status()
            echo(f"\nready in {time.monotonic() - started:.1f} s\n")
            stop_hint = "press Ctrl-C" if ready_fd < 0 else "run `mesh down`"
            print_startup_summary(plan, status.workloads if status else (), stop_hint)
            sys.stdout.flush()
            if ready_fd >= 0:
                os.write(ready_fd, b"ready")
                os.close(ready_fd)
            await (while_running(stop) if while_running else stopping)
        else:
            raise CommandError(INTERRUPTED, "interrupted before the mesh was ready")
    finally:
        starting.cancel()
        stopping.cancel()
        await asyncio.gather(starting, stopping, return_exceptions=True)
        print_line("stopping")
        await launcher.down()


def stop_event() -> asyncio.Event:
    """An event that is set by SIGINT, SIGTERM or SIGHUP."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    return stop


def start_detached(plan: LaunchPlan) -> None:
    """Start the same command in a session of its own; return when it is ready, fail when it fails."""
    arguments = [argument for argument in sys.argv[1:] if argument not in ("--detach", "-d")]
    launch(plan.settings.state, _up_arguments(arguments))


def launch(
    state: Path,
    arguments: Sequence[str],
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
    *,
    quiet: bool = False,
) -> None:
    """Run `mesh up` in the background, in this environment and folder; return when it is ready.

    Prints what it prints, unless it is to be `quiet`. Raises typer.Exit with its exit code if it fails.
    """
    private_folder(state / "logs")
    log = log_path(state, "up")
    reading, writing = os.pipe()
    with log.open("wb") as output:
        child = subprocess.Popen(
            module_command("cli", *arguments, "--ready-fd", str(writing)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(writing,),
            start_new_session=True,
            env=environ,
            cwd=folder,
        )
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        ready = pipe.read() == b"ready"
    if not (quiet and ready):
        echo(log.read_text())
    if not ready:
        code = child.wait()
        if code != errors.BAD_INPUT:
            # Bad input has said in its one line what to do: a mesh that runs already, for example.
            warn(f"the mesh did not start: {log}" if log.stat().st_size else tail(log))
        raise typer.Exit(code or errors.FAILED)
    if not quiet:
        echo(f"running in the background as pid {child.pid}")


def _up_arguments(arguments: list[str]) -> list[str]:
    """The arguments for `mesh up`, the only command with --ready-fd."""
    rest = (text for index, text in enumerate(arguments) if index or text not in ("up", "demo"))
    return ["up", *rest]


def silence_supervisor() -> None:
    """Drop the supervisor's log in this process: the launcher reports every exit in its own words."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
