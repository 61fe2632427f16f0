"""`mesh down`: stop the mesh of a state directory."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

import psutil

from meshwright.cli.errors import CommandError
from meshwright.cli.options import StateOption
from meshwright.cli.output import echo
from meshwright.cli.state_lock import holder, remove_abandoned_instances
from meshwright.control_plane.api import errors, mesh_locator
from meshwright.control_plane.api.state_dir import ProcessRecord
from meshwright.sidecar.orphans import START_TIME_TOLERANCE, reap_orphans

DOWN_TIMEOUT = 120.0
"""Seconds to wait for the mesh to stop: more than all its parts need to drain and stop."""

POLL_INTERVAL = 0.05


def down(state: StateOption = None) -> None:
    """Stop the mesh of a state directory. Returns when all processes have ended and the ports are free.

    \b
    Example:
      mesh down
    """
    folder = mesh_locator.state_dir(os.environ, state)
    record = holder(folder)
    if record is None:
        stopped = [*reap_orphans(folder), *remove_abandoned_instances(folder)]
        echo(f"stopped {len(stopped)} orphaned processes" if stopped else f"no mesh is running in {folder}")
        return
    if _is_running(record):
        with suppress(psutil.NoSuchProcess):
            psutil.Process(record.pid).send_signal(signal.SIGTERM)
    deadline = time.monotonic() + DOWN_TIMEOUT
    while holder(folder) is not None:
        if time.monotonic() > deadline:
            raise CommandError(
                errors.FAILED, f"pid {record.pid} did not stop within {DOWN_TIMEOUT:g} s: see {folder}/logs"
            )
        time.sleep(POLL_INTERVAL)
    # The process releases the lock shortly before it ends.
    while _is_running(record) and time.monotonic() < deadline:
        time.sleep(POLL_INTERVAL)
    reap_orphans(folder)
    remove_abandoned_instances(folder)
    echo("stopped")


def _is_running(record: ProcessRecord) -> bool:
    """Whether the recorded process still runs. Its start time tells it from a later process with its pid."""
    try:
        process = psutil.Process(record.pid)
        is_same = abs(process.create_time() - record.started) < START_TIME_TOLERANCE
        return is_same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
