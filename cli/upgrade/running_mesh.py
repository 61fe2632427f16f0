"""The `mesh up` that runs in a state directory: its processes, its environment, and what it is to run."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from meshwright.cli.errors import CommandError
from meshwright.cli.reconcile.applied import AppliedApplication, load_applied
from meshwright.cli.state_lock import holder
from meshwright.control_plane.api import errors
from meshwright.control_plane.api.process_identity import MARKER, find_process
from meshwright.control_plane.errors import InputError
from meshwright.sidecar.child_process import record_path
from meshwright.sidecar.orphans import read_record

END_TIMEOUT = 10.0
"""Seconds for a killed process to end."""

INTERPRETER_VARIABLES = ("PATH", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")
"""Variables that lead to an installation: those of the new one take the place of those of the old."""


@dataclass(frozen=True, slots=True)
class RunningMesh:
    """A mesh that a `mesh up` supervises. `environment` is what it gave its control plane."""

    state: Path
    process: psutil.Process
    applied: AppliedApplication
    folder: Path
    environment: Mapping[str, str] = field(repr=False)


def find_running_mesh(state: Path) -> RunningMesh:
    """The mesh of a state directory; raises InputError, with what to do, if it cannot be replaced."""
    record = holder(state)
    process = find_process(record) if record else None
    if process is None:
        raise InputError(f"{state}: no `mesh up` runs here: start it, and the installed version runs")
    applied = load_applied(state)
    if applied is None:
        raise InputError(f"{state}: the mesh here is starting or stopping: see `mesh status`, and try again")
    try:
        environment = _environment(state, process)
        folder = Path(process.cwd())
    except (psutil.Error, OSError):
        raise InputError(f"pid {process.pid}: its environment cannot be read: run this as its user") from None
    return RunningMesh(state, process, applied, folder, environment)


def _environment(state: Path, process: psutil.Process) -> dict[str, str]:
    """That of the control plane, where the ports are that `--ports auto` chose; else that of `mesh up`."""
    record = read_record(record_path(state, "control-plane"))
    child = find_process(record) if record else None
    return (child or process).environ()


def successor_environment(running: RunningMesh, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of the next `mesh up`: that of the one before, but for this Python."""
    inherited = {
        name: text
        for name, text in running.environment.items()
        if name not in (*INTERPRETER_VARIABLES, MARKER)
    }
    return {
        **inherited,
        **{name: environ[name] for name in INTERPRETER_VARIABLES if name in environ},
        "MESH_STATE": str(running.state.absolute()),
    }


def end_supervisor(running: RunningMesh) -> None:
    """End the `mesh up` at once, and nothing else; raises CommandError if it does not end.

    It gets SIGKILL: on SIGTERM it stops the mesh. What it supervised goes on, for the next one.
    """
    with suppress(psutil.NoSuchProcess):
        running.process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + END_TIMEOUT
    while holder(running.state) is not None:
        if time.monotonic() > deadline:
            raise CommandError(errors.FAILED, f"pid {running.process.pid} does not end: nothing was replaced")
        time.sleep(0.02)
