"""Child processes: started in a group of their own, recorded, logged, supervised, stopped as a group.

Each child is recorded in `STATE/run/NAME.json` with its start time, so that whoever comes after a killed
parent can stop what it left (`reap`), and never a stranger who got its pid.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import structlog

from meshwright.control_plane.api.state_dir import ProcessRecord
from meshwright.sidecar.backoff import Backoff
from meshwright.sidecar.files import private_folder, rotate_log, write_private

log = structlog.get_logger(__name__)

MAX_LOG_BYTES = 5 * 1024 * 1024
"""Bytes of a log before it is cut; two older ones are kept."""

LOG_CHECK_INTERVAL = 2.0
"""Seconds between looks at a log's size."""

START_TIME_TOLERANCE = 2.0
"""Seconds by which a start time may differ: the system derives it from a clock that can be set."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run. `grace`: seconds between SIGTERM and SIGKILL.

    `attached`: it has this process's own stdin, stdout and stderr instead of a log, and lives only once.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    cwd: Path | None = None
    grace: float = 10.0
    attached: bool = False


class NotReadyError(Exception):
    """A program cannot be started yet; its text says why. It is asked for again later."""


def log_path(state: Path, name: str) -> Path:
    """Where the output of the child `name` goes."""
    return state / "logs" / f"{name}.log"


def record_path(state: Path, name: str) -> Path:
    """Where the child `name` is recorded."""
    return state / "run" / f"{name}.json"


class ChildProcess:
    """One running process and its group. Made by `Child.start`."""

    def __init__(self, program: Program, state: Path, process: asyncio.subprocess.Process) -> None:
        self._program = program
        self._process = process
        self._record = record_path(state, program.name)
        self.log = log_path(state, program.name)

    @classmethod
    async def start(cls, program: Program, state: Path) -> ChildProcess:
        """Start `program` and record it; raises OSError when it cannot be run."""
        private_folder(state / "logs")
        private_folder(state / "run")
        path = log_path(state, program.name)
        output = None if program.attached else _open_log(path)
        try:
            # A session of its own even when attached: Ctrl-C then reaches its parent alone, who sees to it
            # that nobody calls the child any more before it is stopped.
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
        """Its process id, which is its group's too."""
        return self._process.pid

    async def wait(self) -> int:
        """Its exit code (negative: the signal that ended it), once it and its group are gone."""
        code = await self._process.wait()
        _signal_group(self.pid, signal.SIGKILL)
        self._record.unlink(missing_ok=True)
        return code

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal `number` to the group, SIGKILL after the grace; its exit code."""
        _signal_group(self.pid, number)
        try:
            return await asyncio.wait_for(asyncio.shield(self.wait()), self._program.grace)
        except TimeoutError:
            log.warning("did not stop in time", process=self._program.name, grace=self._program.grace)
            _signal_group(self.pid, signal.SIGKILL)
            return await self.wait()


def _open_log(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


class Supervisor:
    """Keeps one program running: starts it again when it ends, ever later while it keeps ending.

    `program` is asked anew for each start and may raise NotNowError. `started` hears of each start, `exited`
    of each unwanted end, in words. After `stop` it is started no more, nor is an attached one that ended.
    `code` is how it ended last (negative: by a signal; 127 and 126 when it could not be started, as shells
    have it), `stop_signal` what `stop` sends, `starts` how often it was started.
    """

    def __init__(
        self,
        name: str,
        program: Callable[[], Program],
        state: Path,
        on_exit: Callable[[str], None],
        *,
        on_start: Callable[[], None] = lambda: None,
        backoff: Backoff | None = None,
    ) -> None:
        self.name = name
        self._program = program
        self._state = state
        self._on_exit = on_exit
        self._on_start = on_start
        self._backoff = backoff or Backoff()
        self.exit_code: int | None = None
        self.starts = 0
        self.stop_signal = signal.SIGTERM
        self._runs_once = False
        self._child: ChildProcess | None = None
        self._stopping = False
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The running child's process id; None while there is none."""
        return self._child.pid if self._child else None

    def start(self) -> None:
        """Begin, in a task of the running loop."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop the child for good, and wait until it is gone."""
        self._stopping = True
        self._wake.set()
        if self._child is not None:
            await self._child.stop(self.stop_signal)
        if self._task is not None:
            await self._task

    def kill(self) -> None:
        """End the child for good without asking it; does not wait."""
        self._stopping = True
        self._wake.set()
        if self._child is not None:
            _signal_group(self._child.pid, signal.SIGKILL)

    async def restart(self) -> None:
        """End the child now; it is started again at once, which is no failure."""
        self._wake.set()
        if self._child is not None:
            await self._child.stop()

    async def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            began = time.monotonic()
            why = await self._run_child()
            if self._stopping:
                return
            if self._runs_once:
                self._on_exit(why)
                return
            if self._wake.is_set():
                self._backoff = self._backoff.worked()
                continue
            self._backoff = self._backoff.failed(time.monotonic() - began)
            wait = self._backoff.delay(random.random())  # noqa: S311  spread, not secrecy
            self._on_exit(why)
            log.warning("process ended", process=self.name, why=why, again_in=round(wait, 2))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), wait)

    async def _run_child(self) -> str:
        """One life of the child; how it ended, in words."""
        try:
            program = self._program()
        except NotReadyError as error:
            return str(error)
        self._runs_once = program.attached
        try:
            self._child = await ChildProcess.start(program, self._state)
        except OSError as error:
            self.exit_code = 127 if isinstance(error, FileNotFoundError) else 126
            return f"cannot start {self.name}: {error}"
        self.starts += 1
        if self._stopping:
            await self._child.stop(self.stop_signal)
        else:
            self._on_start()
        ending = asyncio.create_task(self._child.wait())
        while not ending.done():
            await asyncio.wait([ending], timeout=LOG_CHECK_INTERVAL)
            await asyncio.to_thread(rotate_log, self._child.log, MAX_LOG_BYTES)
        self._child = None
        self.exit_code = ending.result()
        return describe_exit(self.exit_code)


def describe_exit(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def find_orphans(
    state: Path, names: Collection[str] | None = None
) -> list[tuple[ProcessRecord, psutil.Process]]:
    """Recorded children (of these `names`) that still run; records of dead ones and strangers are removed."""
    found = []
    for path in sorted((state / "run").glob("*.json")):
        if names is not None and path.stem not in names:
            continue
        try:
            record = ProcessRecord.model_validate_json(path.read_bytes())
            process = psutil.Process(record.pid)
            same = abs(process.create_time() - record.started) < START_TIME_TOLERANCE
            if same and process.status() != psutil.STATUS_ZOMBIE:
                found.append((record, process))
                continue
        except (ValueError, psutil.Error, OSError):
            pass
        path.unlink(missing_ok=True)
    return found


def reap_orphans(
    state: Path, grace: float = 5.0, names: Collection[str] | None = None
) -> list[ProcessRecord]:
    """Stop what an earlier, killed parent left running; returns what was found. Blocks for some `grace` s.

    `names`: only these children; all that are recorded when None. Done again until nothing is left: a
    supervisor among the leftovers may have started a child meanwhile.
    """
    stopped: list[ProcessRecord] = []
    for _ in range(3):
        found = find_orphans(state, names)
        if not found:
            break
        stopped += [record for record, _ in found]
        for number in (signal.SIGTERM, signal.SIGKILL):
            for _, process in found:
                _signal_orphan(process, number)
            _, alive = psutil.wait_procs([process for _, process in found], timeout=grace)
            if not alive:
                break
    find_orphans(state, names)
    return stopped


def _signal_orphan(process: psutil.Process, number: signal.Signals) -> None:
    """To its group when it leads one, else to it alone; psutil refuses a pid that was given away."""
    with contextlib.suppress(psutil.Error, OSError):
        if not process.is_running():
            return
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
