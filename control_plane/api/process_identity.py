"""Which process a record means: by pid and start, or by the marker in its environment without a pid."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import psutil

from meshwright.control_plane.api.state_dir import ProcessRecord

MARKER = "MESHWRIGHT_PROCESS"
"""Environment variable of every process that a supervisor starts: the marker in its record."""

START_TIME_TOLERANCE = 2.0
"""Seconds by which a start time may differ: the system derives it from a clock that can be set."""

_PROC = Path("/proc")


def birth(pid: int) -> str:
    """The boot and the clock tick in which a process started; empty if the system does not tell.

    Unlike psutil's create_time it does not move when the clock is set. Field 22 of /proc/PID/stat (proc(5)).
    """
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        # The name in parentheses may contain anything, spaces and parentheses too.
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return f"{boot}/{fields[19]}"
    except (OSError, IndexError):
        return ""


def find_process(record: ProcessRecord) -> psutil.Process | None:
    """The recorded process; None if it has ended."""
    with suppress(psutil.Error, OSError):
        process = psutil.Process(record.pid) if record.pid else _marked_process(record.marker)
        if process is not None and process.status() != psutil.STATUS_ZOMBIE and _is_same(record, process):
            return process
    return None


def _is_same(record: ProcessRecord, process: psutil.Process) -> bool:
    if not record.pid:
        return True
    if record.birth and (current := birth(process.pid)):
        return current == record.birth
    return abs(process.create_time() - record.started) < START_TIME_TOLERANCE


def _marked_process(marker: str) -> psutil.Process | None:
    """The leader of a session that has the marker; what it started has inherited it."""
    if not marker:
        return None
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(MARKER) == marker and os.getsid(process.pid) == process.pid:
                return process
    return None
