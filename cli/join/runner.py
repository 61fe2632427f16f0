"""The life of a process that joined a mesh: its agent runs here, and its end is this command's end."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import TextIO

import aiohttp
import structlog

from meshwright.cli.errors import CommandError, warn
from meshwright.control_plane.api import errors
from meshwright.sidecar.agent import Agent
from meshwright.sidecar.config import AgentConfig
from meshwright.sidecar.files import private_folder, tail
from meshwright.sidecar.status import WorkloadStatus
from meshwright.sidecar.supervisor import log_path

POLL_INTERVAL = 0.05

ERROR_DELAY = 2.0
"""Seconds that something may be wrong before it is told: much is for a moment while a sidecar starts."""

STARTING_PHASES = ("new", "enrolling", "starting proxy")
"""Phases in which the process does not run yet."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class WorkloadRunner:
    """One agent with one workload, in this process."""

    def __init__(self, config: AgentConfig) -> None:
        self._config = config
        self._name = config.workloads[0].name
        self._stop = asyncio.Event()
        self._signal: signal.Signals | None = None
        self._failure: CommandError | None = None

    async def run(self, within: float) -> int:
        """Start the process, keep it, stop it; its exit code as shells have it (128 + signal).

        Raises VerbError when its sidecar is not ready `within` seconds: then it was not started at all.
        """
        private_folder(self._config.state / "logs")
        with log_path(self._config.state, "agent").open("a") as log:
            _log_to(log)
            code = await self._run(within)
        if code is not None:
            return code if code >= 0 else 128 - code
        return 128 + self._signal if self._signal else errors.FAILED

    async def serve(self, log: TextIO) -> None:
        """Keep the sidecar of an app that others start until a signal comes, however long that takes."""
        _log_to(log)
        await self._run(None)

    async def _run(self, within: float | None) -> int | None:
        """The agent's whole life; how the process ended, None when it was never started."""
        async with aiohttp.ClientSession(trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as session:
            agent = Agent(self._config, session, self._stop.set)
            loop = asyncio.get_running_loop()
            for number in SIGNALS:
                loop.add_signal_handler(number, self._on_signal, agent, number)
            watching = asyncio.create_task(self._report_startup(agent, within)) if within else None
            await agent.run(self._stop)
            if watching is not None:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
        if self._failure is not None:
            raise self._failure
        return agent.app_exit_code(self._name)

    def _on_signal(self, agent: Agent, number: signal.Signals) -> None:
        """The first signal stops gracefully; another one at once."""
        if self._signal is not None:
            agent.kill()
        self._signal = number
        agent.set_stop_signal(number)
        self._stop.set()

    async def _report_startup(self, agent: Agent, within: float) -> None:
        """Tell what keeps the process from starting; give up after `within` seconds."""
        began = since = time.monotonic()
        last = ""
        while (found := agent.status().workloads[0]).phase in STARTING_PHASES and not self._signal:
            now = time.monotonic()
            if found.error != last:
                last, since = found.error, now
            elif last and since and now - since > ERROR_DELAY:
                warn(f"mesh: {self._name}: {last}")
                since = 0.0
            if now - began > within:
                self._failure = _not_ready_error(found, within)
                self._stop.set()
                return
            await asyncio.sleep(POLL_INTERVAL)
        if not self._signal:
            warn(f"mesh: {self._name} joined as {found.service}")


def _log_to(log: TextIO) -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(log),
    )


def _not_ready_error(found: WorkloadStatus, within: float) -> CommandError:
    lines = [f"{found.name}: its sidecar is not ready after {within:g} s: {found.error or found.phase}"]
    for log in found.logs:
        end = tail(Path(log), 12)
        lines += [f"--- the end of {log}", end] if end else []
    return CommandError(errors.FAILED, "\n".join(lines))
