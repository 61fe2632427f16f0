"""The app of one workload: its process, if the agent starts it, and its health."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import aiohttp
import psutil

from meshwright.control_plane.api.models.instances import InstanceProcess
from meshwright.sidecar.child_process import Program
from meshwright.sidecar.config import Workload
from meshwright.sidecar.health_probe import HealthProbe, monitor_health, probe_for
from meshwright.sidecar.health_state import CheckResult, HealthState
from meshwright.sidecar.lifecycle import LifecycleEvent, LifecycleState
from meshwright.sidecar.port_file import dump_ports
from meshwright.sidecar.ports import LOOPBACK, WorkloadPorts, is_free, process_on_port
from meshwright.sidecar.supervisor import NotReadyError, Supervisor
from meshwright.sidecar.tasks import KeepTask

_APP_SETTINGS = {"service", "ports", "labels", "command", "cwd", "env", "upstreams"}
"""Fields of a Workload from which an app's command and environment are made."""


class AppProcess:
    """Runs the app and probes its health. `state`, `ports` and `environment` return the present values.

    Calls `on_event` when the app becomes healthy or unhealthy, `on_problem` with what is wrong (empty:
    nothing), `on_exit` when an attached app has exited. `probe` replaces the probe of the workload.
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
        keep: KeepTask,
        on_event: Callable[[LifecycleEvent], None],
        on_problem: Callable[[str], None],
        on_exit: Callable[[], None],
        probe: HealthProbe | None = None,
    ) -> None:
        self._workload = workload
        self._probe = probe
        self._session = session
        self._state = state
        self._ports = ports
        self._environment = environment
        self._keep = keep
        self._on_event = on_event
        self._on_problem = on_problem
        self._on_exit = on_exit
        self._monitor: asyncio.Task[None] | None = None
        self._checks = HealthState()
        self._listening = False
        self._info = InstanceProcess()
        self.last_exit = ""
        """How its process last ended by itself; empty: it never did."""
        self.failure = ""
        """Why an attached app ended before anyone stopped it; empty: it did not, or with code 0."""
        self.process = Supervisor(
            workload.name, self._program, state_dir, self._exited, on_start=self._monitor_health
        )

    def start(self) -> None:
        """Start the app, or only probe it when someone else starts it."""
        if self._workload.command is not None:
            self.process.start()
        else:
            self._monitor_health()

    def adopt(self) -> bool:
        """Go on with the app that an earlier agent started with these ports and settings, if it runs.

        True too if someone else starts it: it may run, and the probes tell.
        """
        if self._workload.command is None:
            return True
        return self.process.adopt(self._command())

    async def stop(self) -> None:
        """Stop the app for good, and the probes before it."""
        if self._monitor is not None:
            self._monitor.cancel()
        await self.process.stop()

    def _program(self) -> Program:
        workload = self._workload
        for name, port in self._ports().apps.items():
            if not is_free(LOOPBACK, port):
                process = process_on_port(port)
                raise NotReadyError(f"port {port} ({name} of {workload.name}) is in use{process}")
        return self._command()

    def _command(self) -> Program:
        workload = self._workload
        assert workload.command is not None  # noqa: S101  only started with one
        settings = workload.model_dump_json(include=_APP_SETTINGS, exclude_defaults=True)
        return Program(
            workload.name,
            workload.command,
            self._environment(),
            workload.cwd,
            workload.stop_grace,
            workload.attached,
            settings=f"{settings} {dump_ports(self._ports())}",
        )

    def _monitor_health(self) -> None:
        """Probe the app from now on. Without a port it counts as healthy while it runs."""
        probe = self._probe or probe_for(self._workload, self._ports(), self._session)
        self._checks = HealthState()
        if probe is None:
            self._checked(HealthState(True), CheckResult())
        else:
            healthy = self._state().app_healthy  # only of an app that was adopted
            settings = self._workload.health
            self._monitor = self._keep(
                lambda: monitor_health(probe, settings, self._checked, healthy=healthy)
            )

    def _checked(self, checks: HealthState, result: CheckResult) -> None:
        self._checks, self._listening = checks, result.listening
        healthy = bool(checks.healthy)
        restarted = f"{self.last_exit}, restarted; " if self.last_exit and result.error else ""
        starting = "starting; " if checks.healthy is None and not restarted else ""
        self._on_problem("" if healthy else f"app: {starting}{restarted}{result.error}")
        if healthy != self._state().app_healthy:
            self._on_event(LifecycleEvent.APP_HEALTHY if healthy else LifecycleEvent.APP_UNHEALTHY)

    @property
    def starting(self) -> bool:
        """Whether it has not been healthy yet since its start and its time for that is not over."""
        return self._checks.healthy is None

    @property
    def last_resort(self) -> bool:
        """Whether it may serve although its checks fail: a process listens, and it is past its start."""
        return self._checks.healthy is False and self._listening

    @property
    def info(self) -> InstanceProcess:
        """Where it runs. Determined once for each process: every renewal of the lease carries it."""
        pid = self.process.pid or 0
        if pid != self._info.pid or not self._info.host:
            self._info = InstanceProcess(host=socket.gethostname(), pid=pid, started=_start_time(pid))
        return self._info

    @property
    def restarts(self) -> int:
        """How often this agent has started it again."""
        return max(0, self.process.starts - 1)

    def _exited(self, reason: str) -> None:
        if self._monitor is not None:
            self._monitor.cancel()
        self._checks, self.last_exit = HealthState(), reason
        self._on_problem(f"app: {reason}")
        self._on_event(LifecycleEvent.APP_UNHEALTHY)
        if self._workload.attached and self.process.exit_code is not None:
            self.failure = reason if self.process.exit_code and not self._state().stopping else ""
            self._on_exit()


def _start_time(pid: int) -> float:
    """When a process started, in seconds since the epoch; 0 without one."""
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).create_time() if pid else 0.0
    return 0.0
