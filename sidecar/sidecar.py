"""One sidecar: runs the commands of its lifecycle and feeds the outcomes back as events."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import structlog

from meshwright.control_plane.api.models.commands import RESTART_BEGIN, InstanceRestart
from meshwright.control_plane.api.models.instances import REASON_LIMIT, InstanceCondition, InstanceHealth
from meshwright.control_plane.api.models.proxies import CertificateReport
from meshwright.control_plane.api.private_files import private_folder
from meshwright.sidecar.access_probe import send_probe
from meshwright.sidecar.addresses import format_address
from meshwright.sidecar.advertised_address import AdvertisedAddress
from meshwright.sidecar.app_process import AppProcess
from meshwright.sidecar.commands import CommandHandler, LogSource
from meshwright.sidecar.config import AgentConfig, Workload
from meshwright.sidecar.files import log_path
from meshwright.sidecar.health_probe import HealthProbe
from meshwright.sidecar.hot_restart import sidecar_folder
from meshwright.sidecar.lifecycle import LifecycleCommand, LifecycleEvent, LifecycleState, Phase, step
from meshwright.sidecar.membership import Membership, build_registration
from meshwright.sidecar.port_file import load_ports
from meshwright.sidecar.ports import PortAllocator, WorkloadPorts
from meshwright.sidecar.proxy_credential import ProxyCredential, load_credential, load_from_environment_file
from meshwright.sidecar.proxy_env import write_environment_file
from meshwright.sidecar.proxy_process import ProxyProcess
from meshwright.sidecar.reporter import Reporter
from meshwright.sidecar.status import WorkloadStatus
from meshwright.sidecar.tasks import TaskSet
from meshwright.sidecar.trial_gate import TrialGate
from meshwright.sidecar.trial_probe import try_instance

log = structlog.get_logger(__name__)


class Sidecar:
    """One workload: its proxy, its app if the agent starts it, its SVID and its lease.

    Calls `on_change` when the status may have changed, `on_app_exit` when an attached app has exited.
    `probe` tells the app's health; None: its settings say how.
    """

    def __init__(
        self,
        workload: Workload,
        config: AgentConfig,
        *,
        allocator: PortAllocator,
        session: aiohttp.ClientSession,
        address: AdvertisedAddress,
        app_environment: Callable[[Workload, WorkloadPorts, ProxyCredential | None], Mapping[str, str]],
        certificates: Callable[[], tuple[CertificateReport, ...]],
        on_change: Callable[[], None],
        on_app_exit: Callable[[], None],
        probe: HealthProbe | None = None,
    ) -> None:
        self.workload = workload
        self.stopped = asyncio.Event()
        self._config, self._certificates, self._on_change = config, certificates, on_change
        self._log, self._state = log.bind(workload=workload.name), LifecycleState()
        self._events: asyncio.Queue[LifecycleEvent] = asyncio.Queue()
        self._problems: dict[str, str] = {}
        self._tasks = TaskSet(workload.name, lambda error: self._set_problem("agent", error))
        self._folder = folder = private_folder(sidecar_folder(config.state, workload.name))
        self._address, self._make_app_environment = address, app_environment
        self._gate: TrialGate | None = None
        self._credential = _credential(workload, config, folder)
        self._membership = Membership(workload, config, folder, session, self._set_problem, address=address)
        self._proxy = ProxyProcess(
            workload,
            config,
            allocator,
            folder,
            self._credential,
            state=lambda: self._state,
            on_event=self._events.put_nowait,
            on_problem=lambda problem: self._set_problem("proxy", problem),
            on_ports=self._on_ports,
        )
        self._app = AppProcess(
            workload,
            config.state,
            session,
            state=lambda: self._state,
            ports=lambda: self._proxy.ports,
            environment=self._app_environment,
            keep=self._tasks.keep,
            on_event=self._events.put_nowait,
            on_problem=lambda problem: self._set_problem("app", problem),
            on_exit=on_app_exit,
            probe=probe,
        )

    def take_over(self) -> frozenset[str]:
        """Go on with the processes that an earlier agent left and that have these settings; their names."""
        picked = self._proxy.ports
        ports = load_ports(self._folder, self.workload, tracing=self._config.tracing)
        if ports is None:
            return frozenset()
        proxy, app = self._proxy.adopt(ports), self._app.adopt()
        owned = {
            self._proxy.process.name: proxy,
            self.workload.name: app and self.workload.command is not None,
        }
        names = frozenset(name for name, runs in owned.items() if runs)
        if names:
            self._state = LifecycleState.taken_over(proxy=proxy, app=app)
        else:
            self._proxy.ports = picked
        return names

    async def run(self) -> None:
        """Start the sidecar and keep it running; returns once `stop` has stopped it."""
        self._events.put_nowait(LifecycleEvent.START)
        while self._state.phase is not Phase.STOPPED:
            event = await self._events.get()
            previous = self._state
            self._state, commands = step(previous, event)
            if self._state.phase is not previous.phase:
                self._log.info("phase changed", phase=self._state.phase.value, event_name=event.value)
            for command in commands:
                self._execute(command)
            if self._state != previous:
                self._on_change()
        await self._tasks.cancel_all()
        self.stopped.set()

    async def stop(self) -> None:
        """Stop gracefully; returns when proxy and app are gone."""
        self._events.put_nowait(LifecycleEvent.STOP)
        await self.stopped.wait()

    async def restart(self) -> None:
        """Begin to replace the app's process without losing a request; `restart_status` tells how far it is.

        Raises ValueError, with what to do, if this agent cannot.
        """
        workload = self.workload
        if workload.role == "gateway":
            raise ValueError("a gateway has no app: restart a service")
        if workload.command is None:
            raise ValueError("its app is started by something else than this agent: restart it there")
        if self._state.stopping or not self._state.app_started:
            raise ValueError(f"it is {self._state.phase.value}: try again when it runs")
        self._events.put_nowait(LifecycleEvent.RESTART)
        while not self._state.stopping and not self.stopped.is_set():  # noqa: ASYNC110  for a moment
            await asyncio.sleep(0.01)

    async def replace_proxy(self) -> None:
        """Have a new Envoy take over from the running one; raises HotRestartError, and that one goes on."""
        await self._proxy.replace()
        self._on_change()

    def restart_status(self) -> InstanceRestart:
        """How far a restart of the app is."""
        state = self._state
        healthy = state.phase is Phase.RUNNING and state.health == "healthy"
        return InstanceRestart(
            proxy=self.workload.name,
            phase=state.phase.value,
            finished=healthy and not state.restarting,
            reason=self._unhealthy_reason(),
        )

    @property
    def app_exit_code(self) -> int | None:
        """The exit code of the app's last run (negative: by a signal); None if it never exited."""
        return self._app.process.exit_code

    async def answer_check(self, host: str, headers: Mapping[str, str]) -> int:
        """The status by which Envoy readmits an ejected instance or not (trial_gate). Raises ValueError."""
        if self._gate is None:
            raise ValueError("the proxy has not started")
        return await self._gate.answer(host, headers)

    def set_stop_signal(self, number: signal.Signals) -> None:
        """Stop the app with this signal when its turn comes."""
        self._app.process.stop_signal = number

    def kill(self) -> None:
        """Kill both processes at once."""
        self._app.process.kill()
        self._proxy.process.kill()

    async def wait_idle(self, limit: float) -> None:
        """Wait up to `limit` seconds for in-flight requests to finish."""
        if self._state.proxy_ready and not self._state.stopping:
            await self._proxy.wait_idle(limit)

    def status(self) -> WorkloadStatus:
        """The present status."""
        processes = {"app": self._app.process, "proxy": self._proxy.process}
        names = [self.workload.name] if self.workload.command else []
        return WorkloadStatus(
            name=self.workload.name,
            role=self.workload.role,
            service=self.workload.service,
            phase=self._state.phase.value,
            healthy=self._state.health == "healthy",
            error="; ".join(problem for problem in self._problems.values() if problem),
            reason=self._unhealthy_reason() if self._state.health == "unhealthy" else "",
            starting=self._app.starting,
            expires=self._membership.svid_expiry,
            starts={name: process.starts for name, process in processes.items()},
            pids={name: process.pid for name, process in processes.items() if process.pid is not None},
            ports=self._proxy.ports.by_name,
            logs=tuple(
                str(log_path(self._config.state, name)) for name in (*names, self._proxy.process.name)
            ),
        )

    def _set_problem(self, source: str, problem: str) -> None:
        if self._problems.get(source, "") != problem:
            self._problems[source] = problem
            self._on_change()

    def _execute(self, command: LifecycleCommand) -> None:
        match command:
            case LifecycleCommand.REGISTER:
                self._register()
            case LifecycleCommand.START_PROXY:
                self._start_proxy()
            case LifecycleCommand.START_APP:
                self._app.start()
            case LifecycleCommand.RESTART_PROXY:
                self._tasks.spawn(self._restart_proxy())
            case _:
                self._execute_slow(command)

    def _execute_slow(self, command: LifecycleCommand) -> None:
        """Run a command whose end is an event."""
        match command:
            case LifecycleCommand.ENROL:
                taken_over = self._state.app_started
                self._spawn(self._membership.enrol(reuse=taken_over), LifecycleEvent.ENROLLED)
            case LifecycleCommand.DRAIN:
                self._spawn(self._membership.drain(), LifecycleEvent.DRAINED)
            case LifecycleCommand.WAIT_IDLE:
                idle = self._proxy.wait_idle(self.workload.stop_grace, include_outbound=False)
                self._spawn(idle, LifecycleEvent.IDLE)
            case LifecycleCommand.DRAIN_REQUESTS:
                self._spawn(self._proxy.drain_requests(), LifecycleEvent.IDLE)
            case LifecycleCommand.STOP_APP:
                self._spawn(self._app.stop(), LifecycleEvent.APP_STOPPED)
            case LifecycleCommand.DEREGISTER:
                departure = self._membership.deregister(self._app.failure)
                self._spawn(departure, LifecycleEvent.DEREGISTERED)
            case LifecycleCommand.STOP_PROXY:
                self._spawn(self._stop_proxy(), LifecycleEvent.PROXY_STOPPED)

    def _spawn(self, work: Coroutine[Any, Any, None], event: LifecycleEvent) -> None:
        """Run `work` in a task, then emit `event` even if it failed, so that a stop always goes on."""
        self._tasks.spawn(self._run_then(work, event))

    async def _run_then(self, work: Coroutine[Any, Any, None], event: LifecycleEvent) -> None:
        try:
            await work
        finally:
            self._events.put_nowait(event)

    def _on_ports(self) -> None:
        self._write_app_environment()
        self._register()

    def _app_environment(self) -> Mapping[str, str]:
        return self._make_app_environment(self.workload, self._proxy.ports, self._credential)

    def _write_app_environment(self) -> None:
        """Keep the file with the environment of an app that something else starts."""
        if self.workload.app_env_file is not None and self._credential is not None:
            write_environment_file(
                self.workload.app_env_file, self.workload, self._proxy.ports, self._credential
            )

    def _register(self) -> None:
        inbound, health = self._proxy.ports.inbound, self._state.health
        # Sidecars call a gateway for hosts outside. One that an older agent started has no port for them.
        if inbound:
            self._membership.register(
                lambda address: build_registration(self.workload, address, inbound, self._condition(health))
            )

    def _condition(self, health: InstanceHealth) -> InstanceCondition:
        """What the control plane hears of this instance besides its address."""
        app = self._app
        return InstanceCondition(
            health=health,
            reason=self._unhealthy_reason() if health == "unhealthy" else "",
            last_resort=health == "unhealthy" and self._state.proxy_ready and app.last_resort,
            restarts=app.restarts,
            last_exit=app.last_exit[:REASON_LIMIT],
            process=app.info,
        )

    def _unhealthy_reason(self) -> str:
        """What is wrong with proxy and app, without what concerns only this machine's agent."""
        problems = filter(None, (self._problems.get(source, "") for source in ("proxy", "app")))
        return "; ".join(problems)[:REASON_LIMIT]

    def _start_proxy(self) -> None:
        self._write_app_environment()
        admin = self._proxy.start()
        self._gate = TrialGate(self.workload.name, admin, partial(try_instance, self._proxy.trial_socket))
        self._tasks.keep(self._proxy.watch)
        reporter = Reporter(
            self.workload,
            admin,
            pid=lambda: self._proxy.process.pid,
            svid_expiry=lambda: self._membership.svid_expiry,
            send=self._membership.report,
            metrics_address=self._metrics_address,
            gate=self._gate,
            certificates=self._certificates,
        )
        self._tasks.keep(reporter.run)
        handler = CommandHandler(
            self.workload.name,
            admin,
            self._logs(),
            self._tasks.spawn,
            restart=self._restart_command,
            probe=partial(send_probe, self._proxy.trial_socket),
        )
        self._membership.serve_commands(handler.handle)

    async def _restart_command(self, argument: str) -> str:
        if argument == RESTART_BEGIN:
            await self.restart()
        return self.restart_status().model_dump_json()

    def _metrics_address(self) -> str:
        """The `host:port` of the proxy's metrics; empty while the address is unknown."""
        host = self._address.last
        return format_address(host, self._proxy.ports.ready) if host else ""

    def _logs(self) -> dict[LogSource, Path]:
        """The log files. An app with a terminal, or one that someone else starts, has none."""
        state, workload = self._config.state, self.workload
        logs: dict[LogSource, Path] = {"proxy": log_path(state, self._proxy.process.name)}
        if workload.command and not workload.attached:
            logs["app"] = log_path(state, workload.name)
        return logs

    async def _restart_proxy(self) -> None:
        self._register()
        await self._proxy.process.restart()

    async def _stop_proxy(self) -> None:
        await self._proxy.stop()
        await self._membership.deregister()
        await self._proxy.close()


def _credential(workload: Workload, config: AgentConfig, folder: Path) -> ProxyCredential | None:
    """What the app's calls need; None where nobody could tell it to the app, and where it is turned off."""
    if workload.app_env_file is not None:
        return load_from_environment_file(workload.app_env_file)
    return load_credential(folder) if workload.command and config.proxy_credential else None
