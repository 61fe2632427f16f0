"""Who has a folder: a lock that only a living process holds, as `mesh up` does on its state directory."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import psutil

from control_plane.api.state import ProcessRecord
from control_plane.errors import InputError
from sidecar.process import reap

FILE = "up.json"

INSTANCES = "instances"
"""Folder of the state in which each process that joined the mesh by itself has its own."""


class Running:
    """Holds a state directory for this process until `release`, or until the process is gone."""

    def __init__(
        self,
        state: Path,
        what: str = "a mesh",
        instead: str = "stop it with `mesh down`, or choose another --state",
    ) -> None:
        """Take the directory; raises InputError, saying what to do `instead`, when another process has it."""
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = os.open(state / FILE, os.O_RDWR | os.O_CREAT, 0o600)
        if not _lock(self._file):
            os.close(self._file)
            record = who(state)
            pid = f" (pid {record.pid})" if record else ""
            raise InputError(f"{state}: {what} runs here already{pid}: {instead}")
        started = psutil.Process().create_time()
        record = ProcessRecord(name="up", pid=os.getpid(), started=started)
        os.truncate(self._file, 0)
        os.pwrite(self._file, record.model_dump_json().encode(), 0)

    def release(self) -> None:
        """Let go of the directory."""
        os.truncate(self._file, 0)
        os.close(self._file)


def who(state: Path) -> ProcessRecord | None:
    """The `mesh up` that holds a state directory; None when none does."""
    try:
        file = os.open(state / FILE, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        if _lock(file):
            return None
        return ProcessRecord.model_validate_json((state / FILE).read_bytes())
    except ValueError:
        return None
    finally:
        os.close(file)


def clear_abandoned(state: Path) -> list[ProcessRecord]:
    """Stop what instances left whose holder was killed, remove their folders; what was stopped."""
    stopped = []
    for folder in sorted((state / INSTANCES).glob("*")):
        file = folder / FILE
        if file.is_file() and file.stat().st_size and who(folder) is None:
            stopped += reap(folder)
            shutil.rmtree(folder, ignore_errors=True)
    return stopped


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
