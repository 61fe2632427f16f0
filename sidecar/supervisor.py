"""Keeps a program running: restarts it with back-off and rotates its log, also while the disk is full."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from meshwright.sidecar.backoff import Backoff
from meshwright.sidecar.child_process import ChildProcess, Program, describe_exit
from meshwright.sidecar.files import rotate_log

log = structlog.get_logger(__name__)

MAX_LOG_BYTES = 5 * 1024 * 1024
"""Size at which a log is rotated. Two older ones are kept."""

LOG_CHECK_INTERVAL = 2.0
"""Seconds between checks of a log's size."""


class NotReadyError(Exception):
    """A program cannot be started yet, for the reason in the text. The supervisor tries again later."""


class Supervisor:
    """Keeps one program running, with growing delays while it keeps failing.

    Calls `program` before each start; it may raise NotReadyError, or OSError for a file that it cannot
    write. Calls `on_start` after each start and `on_exit` with the reason after each unexpected exit. Does
    not restart after `stop`, unless it is started again, nor an attached program.
    `exit_code` is that of the last exit (negative: by a signal; 127 and 126 when it could not be started, as
    in a shell). `stop` sends `stop_signal`. `starts` counts the starts.
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
        self._adopted: ChildProcess | None = None
        self._stopping = False
        self._starting = asyncio.Lock()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._waiting: set[asyncio.Task[int | None]] = set()

    @property
    def pid(self) -> int | None:
        """The process id of the running child; None without one."""
        return self._child.pid if self._child else None

    def adopt(self, program: Program) -> bool:
        """Go on with the process that an earlier supervisor started as `program`; False if there is none."""
        self._adopted = ChildProcess.adopt(program, self._state)
        self._runs_once = program.attached
        return self._adopted is not None

    def start(self) -> None:
        """Start supervising, in a task of the running loop; again after a `stop`."""
        self._stopping = False
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop the child for good and wait until it is gone."""
        self._stopping = True
        self._wake.set()
        async with self._starting:  # a successor gives up
            child = self._child
        if child is not None:
            await child.stop(self.stop_signal)
        if self._task is not None:
            await self._task

    def kill(self) -> None:
        """Kill the child for good; does not wait."""
        self._stopping = True
        self._wake.set()
        if self._child is not None:
            self._child.kill()

    async def restart(self) -> None:
        """Stop the child and start it again at once. Does not count as a failure."""
        self._wake.set()
        if self._child is not None:
            await self._child.stop()

    async def hand_over(self, program: Program, ready: Callable[[], Awaitable[bool]], limit: float) -> str:
        """Start `program` beside the child; once it is `ready` it is the child. Returns "", or why it is not.

        It has `limit` seconds, and is killed if it fails; the child goes on then. Else the one before has to
        end by itself: its record is `NAME.previous` by then. Raises OSError if nothing could be started.
        """
        async with self._starting:
            successor = await ChildProcess.start(program, self._state, f"{self.name}.next")
            taken = False
            try:
                if reason := await self._until_ready(successor, ready, limit):
                    return reason
                if self._child is not None:
                    self._child.record_as(f"{self.name}.previous")
                successor.record_as(self.name)
                self._child, taken = successor, True
                self.starts += 1
                return ""
            finally:
                if not taken:
                    await successor.stop(signal.SIGKILL)

    async def _until_ready(
        self, successor: ChildProcess, ready: Callable[[], Awaitable[bool]], limit: float
    ) -> str:
        """Wait until it is ready. Returns why it is not; empty when it is."""
        deadline = time.monotonic() + limit
        exited = asyncio.create_task(successor.wait())
        try:
            while not self._stopping:
                if exited.done():
                    return f"the new process {describe_exit(exited.result())}"
                if await ready():
                    return ""
                if time.monotonic() > deadline:
                    return f"the new process was not ready within {limit:g} s"
                await asyncio.wait([exited], timeout=0.1)
            return "it stops"
        finally:
            exited.cancel()

    async def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            started = time.monotonic()
            reason = await self._run_child()
            if self._stopping:
                return
            if self._runs_once:
                self._on_exit(reason)
                return
            if self._wake.is_set():
                self._backoff = self._backoff.worked()
                continue
            self._backoff = self._backoff.failed(time.monotonic() - started)
            delay = self._backoff.delay(random.random())  # noqa: S311  jitter, not secrecy
            self._on_exit(reason)
            log.warning("process exited", process=self.name, reason=reason, restart_in=round(delay, 2))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), delay)

    async def _run_child(self) -> str:
        """Start the child and wait for its exit. Returns the reason for the exit, or why it did not start."""
        async with self._starting:
            if self._child is None:  # else a successor took over while the one before ended
                self._child, self._adopted = self._adopted, None
            if self._child is None and (problem := await self._start_child()):
                return problem
        assert self._child is not None  # noqa: S101  adopted or started
        if self._stopping:
            await self._child.stop(self.stop_signal)
        else:
            self._on_start()
        self.exit_code = await self._until_ended()
        return describe_exit(self.exit_code)

    async def _until_ended(self) -> int | None:
        """Wait for the end of the child, or of the last that took over. Returns its exit code."""
        while (child := self._child) is not None:
            exited = asyncio.create_task(child.wait())
            self._waiting.add(exited)
            exited.add_done_callback(self._waiting.discard)
            while not exited.done() and self._child is child:
                await asyncio.wait([exited], timeout=LOG_CHECK_INTERVAL)
                await self._rotate_log(child.log)
            if self._child is child:
                self._child = None
                return exited.result()
        return None

    async def _start_child(self) -> str:
        """Start the child. Returns why it did not start; empty when it did."""
        try:
            program = self._program()
        except NotReadyError as error:
            return str(error)
        except OSError as error:
            return f"cannot prepare {self.name}: {error}"
        self._runs_once = program.attached
        try:
            self._child = await ChildProcess.start(program, self._state)
        except OSError as error:
            self.exit_code = 127 if isinstance(error, FileNotFoundError) else 126
            return f"cannot start {self.name}: {error}"
        self.starts += 1
        return ""

    async def _rotate_log(self, path: Path) -> None:
        try:
            await asyncio.to_thread(rotate_log, path, MAX_LOG_BYTES)
        except OSError as error:  # tried again at the next check
            log.warning("cannot rotate a log", process=self.name, reason=str(error))
