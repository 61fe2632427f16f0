"""Who has a folder: a lock that only a living process holds, as `mesh up` does on its state directory."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import psutil

from meshwright.control_plane.api.state_dir import ProcessRecord
from meshwright.control_plane.errors import InputError
from meshwright.sidecar.supervisor import reap_orphans

LOCK_FILE = "up.json"

INSTANCES_FOLDER = "instances"
"""Folder of the state in which each process that joined the mesh by itself has its own."""


class StateLock:
    """Holds a state directory for this process until `release`, or until the process is gone."""

    def __init__(
        self,
        state: Path,
        subject: str = "a mesh",
        remedy: str = "stop it with `mesh down`, or choose another --state",
    ) -> None:
        """Take the directory; raises InputError, saying what to do `instead`, when another process has it."""
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = os.open(state / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        if not _lock(self._file):
            os.close(self._file)
            record = holder(state)
            pid = f" (pid {record.pid})" if record else ""
            raise InputError(f"{state}: {subject} runs here already{pid}: {remedy}")
        started = psutil.Process().create_time()
        record = ProcessRecord(name="up", pid=os.getpid(), started=started)
        os.truncate(self._file, 0)
        os.pwrite(self._file, record.model_dump_json().encode(), 0)

    def release(self) -> None:
        """Let go of the directory."""
        os.truncate(self._file, 0)
        os.close(self._file)


def holder(state: Path) -> ProcessRecord | None:
    """The `mesh up` that holds a state directory; None when none does."""
    try:
        file = os.open(state / LOCK_FILE, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        if _lock(file):
            return None
        return ProcessRecord.model_validate_json((state / LOCK_FILE).read_bytes())
    except ValueError:
        return None
    finally:
        os.close(file)


def remove_abandoned_instances(state: Path) -> list[ProcessRecord]:
    """Stop what instances left whose holder was killed, remove their folders; what was stopped."""
    stopped = []
    for folder in sorted((state / INSTANCES_FOLDER).glob("*")):
        file = folder / LOCK_FILE
        if file.is_file() and file.stat().st_size and holder(folder) is None:
            stopped += reap_orphans(folder)
            shutil.rmtree(folder, ignore_errors=True)
    return stopped


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
