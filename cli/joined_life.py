"""The life of a process that joined a mesh: its agent runs here, and its end is this command's end."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import TextIO

import aiohttp
import structlog

from cli.failing import VerbError, warn
from control_plane.api import failures
from sidecar.app import Agent
from sidecar.config import AgentConfig
from sidecar.files import private_folder, tail
from sidecar.process import log_path
from sidecar.status import WorkloadStatus

LOOK_EVERY = 0.05

PATIENCE = 2.0
"""Seconds that something may be wrong before it is told: much is for a moment while a sidecar starts."""

STARTING = ("new", "enrolling", "starting proxy")
"""Phases in which the process does not run yet."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Life:
    """One agent with one workload, in this process."""

    def __init__(self, config: AgentConfig) -> None:
        self._config = config
        self._name = config.workloads[0].name
        self._stop = asyncio.Event()
        self._told: signal.Signals | None = None
        self._failure: VerbError | None = None

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
        return 128 + self._told if self._told else failures.FAILED

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
                loop.add_signal_handler(number, self._tell, agent, number)
            watching = asyncio.create_task(self._watch(agent, within)) if within else None
            await agent.run(self._stop)
            if watching is not None:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
        if self._failure is not None:
            raise self._failure
        return agent.app_code(self._name)

    def _tell(self, agent: Agent, number: signal.Signals) -> None:
        """The first signal stops gracefully; another one at once."""
        if self._told is not None:
            agent.kill()
        self._told = number
        agent.stop_apps_with(number)
        self._stop.set()

    async def _watch(self, agent: Agent, within: float) -> None:
        """Tell what keeps the process from starting; give up after `within` seconds."""
        began = since = time.monotonic()
        last = ""
        while (found := agent.status().workloads[0]).phase in STARTING and not self._told:
            now = time.monotonic()
            if found.error != last:
                last, since = found.error, now
            elif last and since and now - since > PATIENCE:
                warn(f"mesh: {self._name}: {last}")
                since = 0.0
            if now - began > within:
                self._failure = _not_ready(found, within)
                self._stop.set()
                return
            await asyncio.sleep(LOOK_EVERY)
        if not self._told:
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


def _not_ready(found: WorkloadStatus, within: float) -> VerbError:
    lines = [f"{found.name}: its sidecar is not ready after {within:g} s: {found.error or found.phase}"]
    for log in found.logs:
        end = tail(Path(log), 12)
        lines += [f"--- the end of {log}", end] if end else []
    return VerbError(failures.FAILED, "\n".join(lines))
