"""One child process: started in its own process group, recorded, logged, and stopped as a group.

`STATE/run/NAME.json` records pid and start time, so that the successor of a killed parent can find its
orphans (`orphans.py`) and never signals a process that was given the same pid later.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import structlog

from meshwright.control_plane.api.state_dir import ProcessRecord
from meshwright.sidecar.files import private_folder, write_private

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Program:
    """What to run. `grace`: seconds between SIGTERM and SIGKILL.

    `attached`: it inherits stdin, stdout and stderr instead of a log file, and runs only once.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    cwd: Path | None = None
    grace: float = 10.0
    attached: bool = False


def log_path(state: Path, name: str) -> Path:
    """The log file of the child `name`."""
    return state / "logs" / f"{name}.log"


def record_path(state: Path, name: str) -> Path:
    """The record file of the child `name`."""
    return state / "run" / f"{name}.json"


class ChildProcess:
    """A running process and its group. Create it with `ChildProcess.start`."""

    def __init__(self, program: Program, state: Path, process: asyncio.subprocess.Process) -> None:
        self._program = program
        self._process = process
        self._record = record_path(state, program.name)
        self.log = log_path(state, program.name)

    @classmethod
    async def start(cls, program: Program, state: Path) -> ChildProcess:
        """Start `program` and record it. Raises OSError when it cannot be run."""
        private_folder(state / "logs")
        private_folder(state / "run")
        path = log_path(state, program.name)
        output = None if program.attached else _open_log(path)
        try:
            # Its own session even when attached: Ctrl-C then reaches only the parent, which drains callers
            # before it stops the child.
            process = await asyncio.create_subprocess_exec(
                *program.argv,
                stdin=None if program.attached else asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=program.cwd,
                env=dict(program.env),
                start_new_session=True,
            )
        finally:
            if output is not None:
                os.close(output)
        child = cls(program, state, process)
        with contextlib.suppress(psutil.Error):
            started = psutil.Process(process.pid).create_time()
            record = ProcessRecord(name=program.name, pid=process.pid, started=started, log=str(path))
            write_private(child._record, record.model_dump_json())
        return child

    @property
    def pid(self) -> int:
        """Its process id, which is also its group's."""
        return self._process.pid

    async def wait(self) -> int:
        """Wait for its exit, kill the rest of its group, and return the exit code (negative: by a signal)."""
        code = await self._process.wait()
        self.kill()
        self._record.unlink(missing_ok=True)
        return code

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
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


def _open_log(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def describe_exit(code: int) -> str:
    """An exit code as text: `exited with code 1`, `killed by SIGKILL`."""
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
