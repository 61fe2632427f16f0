"""Finds and stops recorded child processes whose parent was killed."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Collection
from pathlib import Path

import psutil

from meshwright.control_plane.api.process_identity import find_process
from meshwright.control_plane.api.state_dir import ProcessRecord
from meshwright.sidecar.hot_restart import SIDECARS_FOLDER, remove_traces


def find_orphans(
    state: Path, names: Collection[str] | None = None
) -> list[tuple[ProcessRecord, psutil.Process]]:
    """Recorded children (only `names`, if given) that still run. Deletes the records of all others."""
    orphans = []
    for path in sorted((state / "run").glob("*.json")):
        if names is not None and path.stem not in names:
            continue
        record = read_record(path)
        process = find_process(record) if record else None
        if record and process:
            orphans.append((record, process))
        else:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
    return orphans


def read_record(path: Path) -> ProcessRecord | None:
    """A process's record; None if there is none that can be read."""
    try:
        return ProcessRecord.model_validate_json(path.read_bytes())
    except (ValueError, OSError):
        return None


def reap_orphans(
    state: Path,
    grace: float = 5.0,
    names: Collection[str] | None = None,
    *,
    signals: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGKILL),
) -> list[ProcessRecord]:
    """Stop the children of an earlier, killed parent and return their records. Blocks for a few `grace` s.

    Only `names`, if given. `signals` are sent `grace` seconds apart. Repeats until none is left: an orphaned
    supervisor may have started a child in the meantime.
    """
    stopped: list[ProcessRecord] = []
    for _ in range(3):
        orphans = find_orphans(state, names)
        if not orphans:
            break
        stopped += [record for record, _ in orphans]
        stop_processes([process for _, process in orphans], grace, signals)
    find_orphans(state, names)
    return stopped


def remove_proxy_traces(state: Path) -> None:
    """Remove the shared memory and sockets of Envoys that were killed: their records name none that runs."""
    running = {record.name for record, _ in find_orphans(state)}
    for folder in (state / SIDECARS_FOLDER).glob("*"):
        records = {f"{folder.name}.proxy{suffix}" for suffix in ("", ".next", ".previous")}
        if not records & running:
            remove_traces(folder)


def stop_processes(
    processes: Collection[psutil.Process],
    grace: float = 5.0,
    signals: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGKILL),
) -> None:
    """Send the signals `grace` seconds apart until the processes have ended."""
    for number in signals:
        for process in processes:
            _signal_group(process, number)
        _, alive = psutil.wait_procs(processes, timeout=grace)
        if not alive:
            break


def _signal_group(process: psutil.Process, number: signal.Signals) -> None:
    """Signal its group if it leads one, else only the process. psutil rejects a pid that was reused."""
    with contextlib.suppress(psutil.Error, OSError):
        if not process.is_running():
            return
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
