"""Waits until parts of a mesh on this host are ready, and explains why one is not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from meshwright.cli.errors import CommandError
from meshwright.cli.http import call_api
from meshwright.cli.instances import is_served
from meshwright.cli.progress import ReportProgress
from meshwright.cli.startup_problem import StartupProblem
from meshwright.control_plane.api import calls, errors
from meshwright.control_plane.errors import MeshError
from meshwright.sidecar.files import log_path, tail
from meshwright.sidecar.status import AgentStatus, WorkloadStatus

POLL_INTERVAL = 0.1

LOG_LINES = 12
"""Lines of each log in an error message."""

STORE_ADVICE = "if the log names the append only file (AOF), `mesh store repair` cuts the damaged end off"

WORKER_ADVICE = "a service that only calls others, and listens nowhere, has `ports: []`"

_CONFIGURED_STATES = ("synced", "rejected")
"""States of a proxy that has responded to its whole configuration."""


class Readiness:
    """Waits for parts of the mesh of a state directory, `timeout` seconds after `begin` at most.

    `exits` has why a part ended by itself, which ends the wait for it.
    """

    def __init__(self, state: Path, timeout: float, report: ReportProgress, exits: Mapping[str, str]) -> None:
        self._state = state
        self._timeout = timeout
        self._report = report
        self._exits = exits
        self._deadline = 0.0
        self._log_sizes: dict[Path, int] = {}

    def begin(self) -> None:
        """The time for what is waited for begins now, and so do the logs that an error shows: what is in them
        may be that of an earlier instance with the same name."""
        self._deadline = time.monotonic() + self._timeout
        logs = log_path(self._state, "any").parent.glob("*.log")
        self._log_sizes = {log.absolute(): log.stat().st_size for log in logs}

    async def until(self, condition: Callable[[], bool], part: str) -> None:
        """Wait for a condition; raises CommandError if the part exits or time runs out."""
        while not condition():
            if part in self._exits:
                raise self._failure(part, self._exits[part])
            if self._is_late():
                raise self._failure(part, f"not ready after {self._timeout:g} s")
            await asyncio.sleep(POLL_INTERVAL)

    async def until_healthy(self, names: Collection[str]) -> None:
        """Wait until these workloads are healthy and their sidecars have responded to their configuration.

        Raises CommandError if one cannot become ready, or time runs out.
        """
        pending = dict.fromkeys(names, StartupProblem())
        while pending:
            proxies = await self._proxies()
            for workload in self._workloads():
                if workload.name in pending:
                    proxy = proxies.get((workload.service, workload.name), {})
                    self._observe(workload, proxy, pending)
            late = next(iter(pending), None)
            if late and self._is_late():
                reason = pending[late].last_error or self._phase(late)
                raise self._failure(late, reason, f"not ready after {self._timeout:g} s: ")
            if "agent" in self._exits:
                raise self._failure("agent", self._exits["agent"])
            await asyncio.sleep(POLL_INTERVAL)

    async def until_served(self, service: str, name: str) -> None:
        """Wait until an instance is healthy in the mesh and every sidecar has ACKed what it was sent.

        Raises CommandError if time runs out.
        """
        while not await asyncio.to_thread(is_served, f"{service}/{name}", self._state):
            if self._is_late():
                raise self._failure(name, f"its callers do not have it after {self._timeout:g} s")
            await asyncio.sleep(POLL_INTERVAL)

    def agent_status(self) -> AgentStatus | None:
        """The agent's status file; None before it is written."""
        try:
            return AgentStatus.model_validate_json((self._state / "agent.json").read_bytes())
        except (OSError, ValueError):
            return None

    def _is_late(self) -> bool:
        return time.monotonic() > self._deadline

    def _observe(
        self, workload: WorkloadStatus, proxy: dict[str, Any], pending: dict[str, StartupProblem]
    ) -> None:
        """Update `pending` by the state of a workload; raises CommandError if it cannot become ready."""
        name = workload.name
        if workload.healthy and proxy.get("state") in _CONFIGURED_STATES:
            del pending[name]
            self._report_ready(name, proxy)
            return
        if workload.phase == "starting app" and "app" in workload.pids:
            # The app runs and may use all the time there is: only the deadline ends this.
            pending[name] = replace(pending[name], last_error=workload.error)
            return
        now = time.monotonic()
        pending[name] = pending[name].observe(workload.error or proxy.get("error", ""), now)
        if pending[name].is_permanent(now):
            raise self._failure(name, pending[name].last_error)

    def _report_ready(self, name: str, proxy: dict[str, Any]) -> None:
        """A policy that Envoy rejects does not stop the start: otherwise nobody could roll it back."""
        if proxy["state"] == "synced":
            self._report("good", name, "healthy, sidecar synced")
        else:
            self._report("partial", name, f"healthy, but its Envoy rejects configuration: {proxy['error']}")

    async def _proxies(self) -> dict[tuple[str, str], Any]:
        """Every proxy by service and name."""
        with suppress(MeshError):
            proxies = (await asyncio.to_thread(call_api, calls.status(), self._state))["proxies"]
            return {(proxy["service"], proxy["name"]): proxy for proxy in proxies}
        return {}

    def _workloads(self) -> tuple[WorkloadStatus, ...]:
        status = self.agent_status()
        return status.workloads if status else ()

    def _phase(self, name: str) -> str:
        phases = [workload.phase for workload in self._workloads() if workload.name == name]
        return phases[0] if phases else "the agent has not started it yet"

    def _failure(self, name: str, reason: str, outcome: str = "") -> CommandError:
        """An error with the last lines of the logs of the part that is the reason."""
        logs = [Path(log) for item in self._workloads() if item.name == name for log in item.logs]
        if "app: " in reason:
            logs = logs[:1]
        lines = [f"{name}: {outcome}{reason}"]
        for log in logs or [log_path(self._state, name)]:
            end = tail(log, LOG_LINES, after=self._log_sizes.get(log.absolute(), 0))
            lines += [f"--- end of {log}", end] if end else []
        lines += [STORE_ADVICE] if name == "store" else []
        lines += [WORKER_ADVICE] if "nothing listens on" in reason else []
        return CommandError(errors.FAILED, "\n".join(lines))
