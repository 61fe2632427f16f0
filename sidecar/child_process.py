"""One child process: recorded before it starts, in its own process group, logged, and stopped as a group.

It outlives its parent. `STATE/run/NAME.json` says which process it is, so that the successor of a killed
parent can go on with it (`ChildProcess.adopt`) or stop it (`orphans.py`), and never signals a process that
was given the same pid later. No process runs without a record: a record that cannot be written prevents the
start, and one that cannot be completed still names the marker in the process's environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import structlog

from meshwright.control_plane.api.open_files import restore_open_files_limit
from meshwright.control_plane.api.private_files import private_folder
from meshwright.control_plane.api.process_identity import MARKER, birth, find_process
from meshwright.control_plane.api.state_dir import ProcessRecord
from meshwright.sidecar.files import log_path, write_private
from meshwright.sidecar.orphans import read_record

log = structlog.get_logger(__name__)


_DETACH = (
    "/bin/sh",
    "-c",
    '(while read -r _ _ _ parent _ </proc/self/stat && [ "$parent" = $$ ]; do :; done; exec setsid "$@")'
    " >&2 & echo $!",
    "sh",
)
"""Starts a program in a session of its own and says its pid. It begins once the shell has ended, so that it
never has a parent whose end could end it."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run. `grace`: seconds between SIGTERM and SIGKILL.

    `attached`: it inherits stdin, stdout and stderr instead of a log file, and runs only once. `settings` is
    all that decides what the process does, if that is less than its arguments: one that runs with other
    settings is not adopted. `detached`: it is not to be a child of this process, whose end would end it
    too, as an Envoy with hot restart asks the kernel to do (PR_SET_PDEATHSIG). Its exit code is unknown.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    cwd: Path | None = None
    grace: float = 10.0
    attached: bool = False
    detached: bool = False
    settings: str = field(default="", repr=False)

    @property
    def digest(self) -> str:
        """Equal for programs that do the same. The environment is not part of it: every terminal differs."""
        parts = (self.name, self.settings) if self.settings else (self.name, str(self.cwd), *self.argv)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def record_path(state: Path, name: str) -> Path:
    """The record file of the child `name`."""
    return state / "run" / f"{name}.json"


class ChildProcess:
    """A running process and its group. Create it with `ChildProcess.start` or `adopt`."""

    def __init__(
        self, program: Program, state: Path, pid: int, process: asyncio.subprocess.Process | None
    ) -> None:
        self._program = program
        self._process = process
        self._record = record_path(state, program.name)
        self.log = log_path(state, program.name)
        self.pid = pid
        """Its process id, which is also its group's."""

    @classmethod
    async def start(cls, program: Program, state: Path, recorded_as: str = "") -> ChildProcess:
        """Record and start `program`. Raises OSError when it cannot be recorded or run.

        `recorded_as` names its record; empty: as the program.
        """
        private_folder(state / "logs")
        private_folder(state / "run")
        path = log_path(state, program.name)
        record = ProcessRecord(
            name=program.name, log=str(path), marker=secrets.token_hex(8), digest=program.digest
        )
        record_file = record_path(state, recorded_as or program.name)
        write_private(record_file, record.model_dump_json())
        try:
            process = await _spawn(program, path, record.marker)
            pid = await _detached_pid(process) if program.detached else process.pid
        except OSError:
            record_file.unlink(missing_ok=True)
            raise
        restore_open_files_limit(pid)
        _complete(record_file, record, pid)
        child = cls(program, state, pid, None if program.detached else process)
        child._record = record_file
        return child

    @classmethod
    def adopt(cls, program: Program, state: Path) -> ChildProcess | None:
        """The process that an earlier parent started as this program; None if it has ended or differs.

        A child that has ended meanwhile is one too: this process started it as another program, and learns
        how it ended. Nobody else's attached program is: it belongs to a terminal that is gone.
        """
        record = read_record(record_path(state, program.name))
        if record is None or record.digest != program.digest:
            return None
        is_child = bool(record.pid) and _is_child(record)
        process = None if program.attached and not is_child else find_process(record)
        pid = process.pid if process else record.pid if is_child else 0
        return cls(program, state, pid, None) if pid else None

    def record_as(self, name: str) -> None:
        """Give its record another name; raises OSError."""
        renamed = self._record.with_name(f"{name}.json")
        self._record.replace(renamed)
        self._record = renamed

    async def wait(self) -> int | None:
        """Wait for its exit, kill the rest of its group, and return the exit code (negative: by a signal).

        None if it was detached, or adopted from another process: only a parent learns the exit code.
        """
        code = await (self._process.wait() if self._process is not None else _wait_for_exit(self.pid))
        self.kill()
        record = read_record(self._record)
        if record is None or record.pid in (0, self.pid):  # else it is that of a later process by now
            with contextlib.suppress(OSError):
                self._record.unlink(missing_ok=True)
        return code

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int | None:
        """Send signal `number` to the group, and SIGKILL after the grace period. Returns the exit code."""
        _signal_group(self.pid, number)
        try:
            return await asyncio.wait_for(asyncio.shield(self.wait()), self._program.grace)
        except TimeoutError:
            log.warning(
                "process did not stop in time: killing it",
                process=self._program.name,
                grace=self._program.grace,
            )
            self.kill()
            return await self.wait()

    def kill(self) -> None:
        """Send SIGKILL to the group; does not wait."""
        _signal_group(self.pid, signal.SIGKILL)


async def _spawn(program: Program, log_file: Path, marker: str) -> asyncio.subprocess.Process:
    output = None if program.attached else _open_log(log_file)
    try:
        # Its own session even when attached: Ctrl-C then reaches only the parent, which drains callers
        # before it stops the child.
        return await asyncio.create_subprocess_exec(
            *(_DETACH if program.detached else ()),
            *program.argv,
            stdin=None if program.attached else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if program.detached else output,
            stderr=output,
            cwd=program.cwd,
            env={**program.env, MARKER: marker},
            start_new_session=True,
        )
    finally:
        if output is not None:
            os.close(output)


def _complete(path: Path, record: ProcessRecord, pid: int) -> None:
    """Add what is known only after the start. Its marker finds the process if that fails."""
    with contextlib.suppress(psutil.Error):
        started = psutil.Process(pid).create_time()
        completed = record.model_copy(update={"pid": pid, "started": started, "birth": birth(pid)})
        try:
            write_private(path, completed.model_dump_json())
        except OSError as error:
            log.warning("cannot complete the record of a process", process=record.name, reason=str(error))


def _is_child(record: ProcessRecord) -> bool:
    """Whether the recorded process is a child of this one, even if it has ended."""
    with contextlib.suppress(psutil.Error):
        is_same = not record.birth or birth(record.pid) == record.birth
        return is_same and psutil.Process(record.pid).ppid() == os.getpid()
    return False


async def _wait_for_exit(pid: int) -> int | None:
    """Wait for the end of a process that this program did not start. Returns its exit code if it is a child:
    of process 1 of a container, or of this process when it ran another program."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    with contextlib.suppress(ChildProcessError):
        ended_pid, code = os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222  does not block
        return os.waitstatus_to_exitcode(code) if ended_pid else None
    return None


async def _detached_pid(starter: asyncio.subprocess.Process) -> int:
    """The pid of a detached process, once its starter has ended; raises OSError if it says none."""
    text, _ = await starter.communicate()
    if not text.strip():
        raise OSError("it could not be detached")
    return int(text)


def _open_log(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def describe_exit(code: int | None) -> str:
    """An exit code as text: `exited with code 1`, `killed by SIGKILL`; None: unknown."""
    if code is None:
        return "ended (how is unknown: it was not a child of this agent)"
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
