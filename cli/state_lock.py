"""The lock of a state directory. Only a living process holds it: the kernel releases it with the process."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import psutil

from meshwright.control_plane.api.private_files import check_folder, private_folder
from meshwright.control_plane.api.process_identity import birth
from meshwright.control_plane.api.state_dir import LOCK_FILE, ProcessRecord
from meshwright.control_plane.errors import InputError
from meshwright.sidecar.orphans import reap_orphans, remove_proxy_traces

INSTANCES_FOLDER = "instances"
"""Subfolder of the state directory with a folder for each instance of `mesh run` and `mesh agent`."""


class StateLock:
    """Locks a state directory until `release`, or until this process ends."""

    def __init__(
        self,
        state: Path,
        subject: str = "a mesh",
        remedy: str = "stop it with `mesh down`, or choose another --state",
    ) -> None:
        """Take the lock; raises InputError, with `remedy` as advice, if another process holds it."""
        private_folder(state)
        self._file = os.open(state / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        if not _lock(self._file):
            os.close(self._file)
            record = holder(state)
            pid = f" (pid {record.pid})" if record else ""
            raise InputError(f"{state}: {subject} is already running here{pid}: {remedy}")
        this_process = os.getpid()
        started = psutil.Process(this_process).create_time()
        record = ProcessRecord(name="up", pid=this_process, started=started, birth=birth(this_process))
        os.truncate(self._file, 0)
        os.pwrite(self._file, record.model_dump_json().encode(), 0)

    @classmethod
    def inherited(cls, descriptor: int) -> StateLock:
        """The lock that this process held when it ran another program: `descriptor` is its `inheritable`."""
        lock = cls.__new__(cls)
        lock._file = descriptor
        os.set_inheritable(descriptor, False)
        return lock

    def inheritable(self) -> int:
        """The lock's file for a program that this process runs from now on, which holds it too."""
        os.set_inheritable(self._file, True)
        return self._file

    def release(self) -> None:
        """Release the lock."""
        os.truncate(self._file, 0)
        os.close(self._file)


def holder(state: Path) -> ProcessRecord | None:
    """The process that holds the lock of a state directory; None if it is not locked.

    Raises InputError if the folder is not a private one of this user: who could write to it could name any
    process.
    """
    check_folder(state)
    try:
        file = os.open(state / LOCK_FILE, os.O_RDWR | os.O_NOFOLLOW)
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


def remove_abandoned_instances(state: Path, except_for: str = "") -> list[ProcessRecord]:
    """Stop the processes of instances whose holder was killed, and remove their folders; what was stopped.

    The instance `except_for` is left alone.
    """
    stopped = []
    for folder in sorted((state / INSTANCES_FOLDER).glob("*")):
        file = folder / LOCK_FILE
        if folder.name == except_for:
            continue
        if file.is_file() and file.stat().st_size and holder(folder) is None:
            stopped += reap_orphans(folder)
            remove_proxy_traces(folder)
            shutil.rmtree(folder, ignore_errors=True)
    return stopped


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
