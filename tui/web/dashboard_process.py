"""One dashboard behind a browser's WebSocket: a child process that ends with its socket or this server."""

from __future__ import annotations

import asyncio
import contextlib
import os
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence

from textual_serve.app_service import AppService

from meshwright.tui.web import SERVER_PID_ENV

STOP_TIMEOUT = 3.0
"""Seconds that the process has to exit before it is killed."""


class DashboardProcess(AppService):
    """textual-serve's bridge, with a command that runs without a shell and a `stop` that waits for it."""

    argv: Sequence[str] = ()

    async def _open_app_process(self, width: int = 80, height: int = 24) -> Process:
        environment = self._build_environment(width=width, height=height)
        environment |= {"TEXTUAL_FPS": "30", SERVER_PID_ENV: str(os.getpid())}
        self._process = process = await asyncio.create_subprocess_exec(
            *self.argv, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment
        )
        self._stdin = process.stdin
        return process

    @property
    def pid(self) -> int:
        """The process ID; 0 before it is started."""
        return self._process.pid if self._process else 0

    async def stop(self) -> None:
        """Ask the process to exit, and kill it if it does not."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(STOP_TIMEOUT):
                await super().stop()
                await process.wait()
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
