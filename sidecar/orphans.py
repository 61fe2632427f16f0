"""Finds and stops recorded child processes whose parent was killed."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Collection
from pathlib import Path

import psutil

from meshwright.control_plane.api.state_dir import ProcessRecord

START_TIME_TOLERANCE = 2.0
"""Seconds by which a start time may differ: the system derives it from a clock that can be set."""


def find_orphans(
    state: Path, names: Collection[str] | None = None
) -> list[tuple[ProcessRecord, psutil.Process]]:
    """Recorded children (only `names`, if given) that still run. Deletes the records of all others."""
    orphans = []
    for path in sorted((state / "run").glob("*.json")):
        if names is not None and path.stem not in names:
            continue
        try:
            record = ProcessRecord.model_validate_json(path.read_bytes())
            process = psutil.Process(record.pid)
            same = abs(process.create_time() - record.started) < START_TIME_TOLERANCE
            if same and process.status() != psutil.STATUS_ZOMBIE:
                orphans.append((record, process))
                continue
        except (ValueError, psutil.Error, OSError):
            pass
        path.unlink(missing_ok=True)
    return orphans


def reap_orphans(
    state: Path, grace: float = 5.0, names: Collection[str] | None = None
) -> list[ProcessRecord]:
    """Stop the children of an earlier, killed parent and return their records. Blocks for a few `grace` s.

    Only `names`, if given. Repeats until none is left: an orphaned supervisor may have started a child in the
    meantime.
    """
    stopped: list[ProcessRecord] = []
    for _ in range(3):
        orphans = find_orphans(state, names)
        if not orphans:
            break
        stopped += [record for record, _ in orphans]
        for number in (signal.SIGTERM, signal.SIGKILL):
            for _, process in orphans:
                _signal_orphan(process, number)
            _, alive = psutil.wait_procs([process for _, process in orphans], timeout=grace)
            if not alive:
                break
    find_orphans(state, names)
    return stopped


def _signal_orphan(process: psutil.Process, number: signal.Signals) -> None:
    """Signal its group if it leads one, else only the process. psutil rejects a pid that was reused."""
    with contextlib.suppress(psutil.Error, OSError):
        if not process.is_running():
            return
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
