"""Runs the agent of a process that joined a mesh, in this process and as long as that process."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import aiohttp
import structlog

from meshwright.cli.errors import CommandError, warn
from meshwright.cli.join.become import SIGNALS, become
from meshwright.cli.join.setup import JoinedInstance
from meshwright.control_plane.api import errors
from meshwright.control_plane.api.log_stream import log_stream
from meshwright.control_plane.api.notify_socket import NotifySocket
from meshwright.control_plane.api.private_files import private_folder
from meshwright.sidecar.agent import Agent
from meshwright.sidecar.child_process import describe_exit
from meshwright.sidecar.files import log_path, tail
from meshwright.sidecar.status import WorkloadStatus

POLL_INTERVAL = 0.05

HEALTH_INTERVAL = 0.5
"""Seconds between looks at the app's health."""

ERROR_DELAY = 2.0
"""Seconds that an error must last to be reported: while a sidecar starts, many last a moment only."""

LOG_LINES = 12
"""Lines of each log in an error message."""

READY_LIMIT = 30.0
"""Seconds after which a sidecar counts as started for systemd, whatever it waits for: a control plane that is
away must not hold up the start of a machine."""

STARTING_PHASES = ("new", "enrolling", "starting proxy")
"""Phases in which the process does not run yet."""

Watch = Callable[[Agent], Coroutine[Any, Any, None]]
"""Looks at an agent while it runs."""


class WorkloadRunner:
    """Runs an agent with one workload."""

    def __init__(self, instance: JoinedInstance) -> None:
        self._config = instance.config
        self._lock = instance.lock
        self._name = self._config.workloads[0].name
        self._stop = asyncio.Event()
        self._signal: signal.Signals | None = None
        self._failure: CommandError | None = None

    async def run(self, ready_timeout: float | None) -> int:
        """Run the process to its end and return its exit code as shells have it (128 + signal).

        Raises CommandError if its sidecar is not ready after `ready_timeout` seconds; then the process never
        started. None: it runs already.
        """
        private_folder(self._config.state / "logs")
        with log_path(self._config.state, "agent").open("a") as log:
            log_to(log)
            code = await self._run(
                partial(self._report_startup, ready_timeout=ready_timeout)
                if ready_timeout is not None
                else self._report_health
            )
        if code is not None:
            self._report_exit(code)
            return code if code >= 0 else 128 - code
        return 128 + self._signal if self._signal else errors.FAILED

    def _report_exit(self, code: int) -> None:
        """Say how the process of a service ended, and of any process when a signal killed it."""
        if not self._signal and (code < 0 or (code and self._config.workloads[0].ports)):
            warn(f"mesh: {self._name} {'was ' if code < 0 else ''}{describe_exit(code)}")

    async def serve(self, log: TextIO, ready_timeout: float | None = None) -> None:
        """Run the sidecar of an app that something else starts, until a signal comes.

        Raises CommandError if it is not ready after `ready_timeout` seconds.
        """
        log_to(log)
        systemd = NotifySocket(os.environ)
        give_up = [partial(self._give_up_after, seconds=ready_timeout)] if ready_timeout else []
        await self._run(lambda _: systemd.feed_watchdog(), partial(self._tell, systemd), *give_up)

    async def _run(self, *watches: Watch) -> int | None:
        """Run the agent to its end, with `watches` beside it.

        Returns the exit code of the process, None if it never started.
        """
        async with aiohttp.ClientSession(trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as session:
            agent = Agent(self._config, session, self._stop.set, become=partial(become, self._lock))
            loop = asyncio.get_running_loop()
            for number in SIGNALS:
                loop.add_signal_handler(number, self._on_signal, agent, number)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            watching = [asyncio.create_task(watch(agent)) for watch in watches]
            await agent.run(self._stop)
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
        if self._failure is not None:
            raise self._failure
        return agent.app_exit_code(self._name)

    def _on_signal(self, agent: Agent, number: signal.Signals) -> None:
        """The first signal drains and stops; the second one kills."""
        if self._signal is not None:
            agent.kill()
        self._signal = number
        agent.set_stop_signal(number)
        self._stop.set()

    async def _report_startup(self, agent: Agent, ready_timeout: float) -> None:
        """Report errors that delay the start; give up after `ready_timeout` seconds."""
        started = error_since = time.monotonic()
        error, reported = "", False
        while (status := agent.status().workloads[0]).phase in STARTING_PHASES and not self._signal:
            now = time.monotonic()
            if status.error != error:
                error, error_since, reported = status.error, now, False
            elif error and not reported and now - error_since > ERROR_DELAY:
                warn(f"mesh: {self._name}: {error}")
                reported = True
            if now - started > ready_timeout:
                self._give_up(status, ready_timeout)
                return
            await asyncio.sleep(POLL_INTERVAL)
        if not self._signal:
            warn(f"mesh: {self._name} joined as {status.service}")
        await self._report_health(agent)

    async def _give_up_after(self, agent: Agent, seconds: float) -> None:
        """Stop an agent that has not started after these seconds."""
        await asyncio.sleep(seconds)
        if (status := agent.status().workloads[0]).phase in STARTING_PHASES:
            self._give_up(status, seconds)

    async def _tell(self, systemd: NotifySocket, agent: Agent) -> None:
        """Keep the service manager informed: whether the sidecar takes calls, and what is wrong."""
        started, ready, sent = time.monotonic(), False, ""
        while not self._stop.is_set():
            status = agent.status().workloads[0]
            starting = status.phase in STARTING_PHASES
            if not ready and (not starting or time.monotonic() - started > READY_LIMIT):
                systemd.ready()
                ready = True
            problem = status.error if starting else status.reason
            text = f"{status.phase}: {problem}".removesuffix(": ")
            if text != sent:
                systemd.status(text)
                sent = text
            await asyncio.sleep(HEALTH_INTERVAL)
        systemd.stopping()

    def _give_up(self, status: WorkloadStatus, seconds: float) -> None:
        self._failure = _not_ready_error(status, seconds)
        self._stop.set()

    async def _report_health(self, agent: Agent) -> None:
        """Say when the app becomes unhealthy and why, until it stops."""
        reported = ""
        while not self._stop.is_set():
            status = agent.status().workloads[0]
            reason = "" if status.starting or status.healthy else status.reason
            if reason != reported:
                warn(f"mesh: {self._name} is {f'unhealthy: {reason}' if reason else 'healthy'}")
                reported = reason
            await asyncio.sleep(HEALTH_INTERVAL)


def log_to(log: TextIO) -> None:
    """Write the agent's log there, as JSON."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(log_stream(log)),
    )


def _not_ready_error(status: WorkloadStatus, timeout: float) -> CommandError:
    lines = [f"{status.name}: its sidecar is not ready after {timeout:g} s: {status.error or status.phase}"]
    for log in status.logs:
        end = tail(Path(log), LOG_LINES)
        lines += [f"--- end of {log}", end] if end else []
    return CommandError(errors.FAILED, "\n".join(lines))
