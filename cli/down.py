"""`mesh down`: stop the mesh of a state directory."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

import psutil

from meshwright.cli.errors import CommandError
from meshwright.cli.leftovers import stop_all
from meshwright.cli.options import StateOption
from meshwright.cli.output import echo
from meshwright.cli.state_lock import holder, remove_abandoned_instances
from meshwright.control_plane.api import errors, mesh_locator
from meshwright.control_plane.api.process_identity import find_process
from meshwright.sidecar.orphans import stop_processes

DOWN_TIMEOUT = 120.0
"""Seconds to wait for the mesh to stop: more than all its parts need to drain and stop."""

POLL_INTERVAL = 0.05


def down(state: StateOption = None) -> None:
    """Stop the mesh of a state directory. Returns when all processes have ended and the ports are free.

    \b
    Example:
      mesh down
    """
    folder = mesh_locator.local_state_dir(os.environ, state)
    record = holder(folder)
    if record is None:
        stopped = [*stop_all(folder), *remove_abandoned_instances(folder)]
        echo(f"stopped {len(stopped)} orphaned processes" if stopped else f"no mesh is running in {folder}")
        return
    process = find_process(record)
    children = _session_leaders(process) if process else []
    if process:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + DOWN_TIMEOUT
    while holder(folder) is not None:
        if time.monotonic() > deadline:
            raise CommandError(
                errors.FAILED, f"pid {record.pid} did not stop within {DOWN_TIMEOUT:g} s: see {folder}/logs"
            )
        time.sleep(POLL_INTERVAL)
    # The process releases the lock shortly before it ends.
    while find_process(record) and time.monotonic() < deadline:
        time.sleep(POLL_INTERVAL)
    stop_all(folder)
    stop_processes(children)
    remove_abandoned_instances(folder)
    echo("stopped")


def _session_leaders(parent: psutil.Process) -> list[psutil.Process]:
    """What the mesh has started, recorded or not: each of its processes leads a session."""
    try:
        return [child for child in parent.children(recursive=True) if os.getsid(child.pid) == child.pid]
    except (psutil.Error, OSError):
        return []
