"""One dashboard behind a browser's socket: a child process that never outlives its socket or this server."""

from __future__ import annotations

import asyncio
import contextlib
import os
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence

from textual_serve.app_service import AppService

from meshwright.tui.web import SERVER_PID_ENV

STOP_TIMEOUT = 3.0
"""Seconds that a child has to end by itself."""


class DashboardProcess(AppService):
    """textual-serve's bridge, with a command that no shell reads and an end that is waited for."""

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
        """The child's process id; 0 before it was started."""
        return self._process.pid if self._process else 0

    async def stop(self) -> None:
        """Ask the child to leave, and see to it that it does."""
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
