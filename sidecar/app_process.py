"""The app of one workload: its process, if the agent starts it, and its health."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import aiohttp

from meshwright.sidecar.child_process import Program
from meshwright.sidecar.config import Workload
from meshwright.sidecar.health_probe import monitor_health, probe_for
from meshwright.sidecar.lifecycle import LifecycleEvent, LifecycleState
from meshwright.sidecar.ports import LOOPBACK, WorkloadPorts, is_free, process_on_port
from meshwright.sidecar.supervisor import NotReadyError, Supervisor
from meshwright.sidecar.tasks import SpawnTask


class AppProcess:
    """Runs the app and probes its health. `state`, `ports` and `environment` return the present values.

    Calls `on_event` when the app becomes healthy or unhealthy, `on_problem` with what is wrong (empty:
    nothing), `on_exit` when an attached app has exited.
    """

    def __init__(
        self,
        workload: Workload,
        state_dir: Path,
        session: aiohttp.ClientSession,
        *,
        state: Callable[[], LifecycleState],
        ports: Callable[[], WorkloadPorts],
        environment: Callable[[], Mapping[str, str]],
        spawn: SpawnTask,
        on_event: Callable[[LifecycleEvent], None],
        on_problem: Callable[[str], None],
        on_exit: Callable[[], None],
    ) -> None:
        self._workload = workload
        self._session = session
        self._state = state
        self._ports = ports
        self._environment = environment
        self._spawn = spawn
        self._on_event = on_event
        self._on_problem = on_problem
        self._on_exit = on_exit
        self._monitor: asyncio.Task[None] | None = None
        self.process = Supervisor(
            workload.name, self._program, state_dir, self._exited, on_start=self._monitor_health
        )

    def start(self) -> None:
        """Start the app, or only probe it when someone else starts it."""
        if self._workload.command is not None:
            self.process.start()
        else:
            self._monitor_health()

    async def stop(self) -> None:
        """Stop the app for good, and the probes before it."""
        if self._monitor is not None:
            self._monitor.cancel()
        await self.process.stop()

    def _program(self) -> Program:
        workload = self._workload
        assert workload.command is not None  # noqa: S101  only started with one
        for name, port in self._ports().apps.items():
            if not is_free(LOOPBACK, port):
                process = process_on_port(port)
                raise NotReadyError(f"port {port} ({name} of {workload.name}) is in use{process}")
        return Program(
            workload.name,
            workload.command,
            self._environment(),
            workload.cwd,
            workload.stop_grace,
            workload.attached,
        )

    def _monitor_health(self) -> None:
        """Probe the app from now on. Without a port it counts as healthy while it runs."""
        probe = probe_for(self._workload, self._ports(), self._session)
        if probe is None:
            self._probed(True, "")
        else:
            self._monitor = self._spawn(monitor_health(probe, self._probed))

    def _probed(self, healthy: bool, error: str) -> None:
        self._on_problem("" if healthy else f"app: {error}")
        if healthy != self._state().app_healthy:
            self._on_event(LifecycleEvent.APP_HEALTHY if healthy else LifecycleEvent.APP_UNHEALTHY)

    def _exited(self, reason: str) -> None:
        if self._monitor is not None:
            self._monitor.cancel()
        self._on_problem(f"app: {reason}")
        self._on_event(LifecycleEvent.APP_UNHEALTHY)
        if self._workload.attached and self.process.exit_code is not None:
            self._on_exit()
