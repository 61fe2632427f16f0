"""One sidecar at work: carries out what its lifecycle commands, and tells it what happened."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import structlog

from meshwright.control_plane.api.models.base import ZONE_LABEL
from meshwright.control_plane.api.state_dir import socket_path
from meshwright.sidecar import bootstrap
from meshwright.sidecar import metrics_endpoint as figures
from meshwright.sidecar import ports as ports_module
from meshwright.sidecar.commands import CommandHandler, LogSource
from meshwright.sidecar.config import AgentConfig, Workload
from meshwright.sidecar.control_plane_client import split_host_port
from meshwright.sidecar.envoy_admin import EnvoyAdminClient, EnvoyAdminError
from meshwright.sidecar.files import private_folder, write_private
from meshwright.sidecar.health_probe import monitor_health, probe_for
from meshwright.sidecar.lifecycle import LifecycleCommand, LifecycleEvent, LifecycleState, Phase, step
from meshwright.sidecar.membership import Membership, build_registration
from meshwright.sidecar.reporter import Reporter
from meshwright.sidecar.status import WorkloadStatus
from meshwright.sidecar.supervisor import NotReadyError, Program, Supervisor, log_path

log = structlog.get_logger(__name__)

PROXY_GRACE = 2.0
"""Seconds the proxy gets to end: nothing is under way in it any more."""

MAX_MISSED_CHECKS = 3
"""Unanswered questions in a row before a proxy that runs counts as lost."""


class Sidecar:
    """One workload: its proxy, its app when that is ours, its identity and its lease."""

    def __init__(
        self,
        workload: Workload,
        config: AgentConfig,
        *,
        allocator: ports_module.PortAllocator,
        session: aiohttp.ClientSession,
        app_environment: Callable[[Workload, ports_module.WorkloadPorts], Mapping[str, str]],
        on_change: Callable[[], None],
        on_app_exit: Callable[[], None],
    ) -> None:
        self.workload = workload
        self.stopped = asyncio.Event()
        self._config = config
        self._allotment = allocator
        self._session = session
        self._environment = app_environment
        self._changed = on_change
        self._ended = on_app_exit
        self._log = log.bind(workload=workload.name)
        self._state = LifecycleState()
        self._ports = allocator.allocate_all(workload)
        self._folder = private_folder(config.state / "sidecars" / workload.name)
        self._socket = socket_path(self._folder, "admin.sock")
        self._admin: EnvoyAdminClient | None = None
        self._events: asyncio.Queue[LifecycleEvent] = asyncio.Queue()
        self._problems: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._health: asyncio.Task[None] | None = None
        self._member = Membership(workload, config, self._folder, session, self._problem)
        self._proxy = Supervisor(
            f"{workload.name}.proxy", self._proxy_program, config.state, self._proxy_exited
        )
        self._app = Supervisor(
            workload.name, self._app_program, config.state, self._app_exited, on_start=self._watch_app
        )

        # What takes its time, and what is told when it is done.
        self._long: dict[LifecycleCommand, tuple[Callable[[], Coroutine[Any, Any, None]], LifecycleEvent]] = {
            LifecycleCommand.ENROL: (self._member.enrol, LifecycleEvent.ENROLLED),
            LifecycleCommand.DRAIN: (self._member.drain, LifecycleEvent.DRAINED),
            LifecycleCommand.DRAIN_REQUESTS: (self._finish, LifecycleEvent.IDLE),
            LifecycleCommand.STOP_APP: (self._stop_app, LifecycleEvent.APP_STOPPED),
            LifecycleCommand.DEREGISTER: (self._member.deregister, LifecycleEvent.DEREGISTERED),
            LifecycleCommand.STOP_PROXY: (self._stop_proxy, LifecycleEvent.PROXY_STOPPED),
        }

    async def run(self) -> None:
        """Live one whole life: up, and after `stop` down again."""
        self._tell(LifecycleEvent.START)
        while self._state.phase is not Phase.STOPPED:
            event = await self._events.get()
            before = self._state
            self._state, commands = step(before, event)
            if self._state.phase is not before.phase:
                self._log.info("phase", now=self._state.phase.value, after=event.value)
            for command in commands:
                self._carry_out(command)
            if self._state != before:
                self._changed()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.stopped.set()

    async def stop(self) -> None:
        """Stop gracefully; returns when all of it is gone."""
        self._tell(LifecycleEvent.STOP)
        await self.stopped.wait()

    @property
    def app_exit_code(self) -> int | None:
        """How its app ended last (negative: by a signal); None while it never has."""
        return self._app.exit_code

    def set_stop_signal(self, number: signal.Signals) -> None:
        """Have the app stopped by this signal, once its turn comes."""
        self._app.stop_signal = number

    def kill(self) -> None:
        """End its processes at once, without grace."""
        self._app.kill()
        self._proxy.kill()

    async def wait_idle(self, limit: float) -> None:
        """Wait until no request is under way here, `limit` seconds at most."""
        if self._admin is not None and self._state.proxy_ready and not self._state.stopping:
            try:
                await self._admin.wait_idle(limit)
            except EnvoyAdminError as error:
                self._log.info("cannot tell what is under way", why=str(error))

    def status(self) -> WorkloadStatus:
        """How it is doing."""
        pids = {"app": self._app.pid, "proxy": self._proxy.pid}
        names = [self.workload.name] if self.workload.command else []
        return WorkloadStatus(
            name=self.workload.name,
            role=self.workload.role,
            service=self.workload.service,
            phase=self._state.phase.value,
            healthy=self._state.health == "healthy",
            error="; ".join(why for why in self._problems.values() if why),
            expires=self._member.svid_expiry,
            starts={"app": self._app.starts, "proxy": self._proxy.starts},
            pids={name: pid for name, pid in pids.items() if pid is not None},
            ports=self._ports.by_name,
            logs=tuple(str(log_path(self._config.state, name)) for name in (*names, self._proxy.name)),
        )

    def _tell(self, event: LifecycleEvent) -> None:
        self._events.put_nowait(event)

    def _problem(self, part: str, why: str) -> None:
        if self._problems.get(part, "") != why:
            self._problems[part] = why
            self._changed()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("a task of the sidecar failed", exc_info=error)
            self._problem("agent", f"{type(error).__name__}: {error}")

    def _carry_out(self, command: LifecycleCommand) -> None:
        match command:
            case LifecycleCommand.REGISTER:
                self._announce()
            case LifecycleCommand.START_PROXY:
                self._start_proxy()
            case LifecycleCommand.START_APP:
                self._start_app()
            case LifecycleCommand.RESTART_PROXY:
                self._spawn(self._restart_proxy())
            case _:
                work, event = self._long[command]
                self._spawn(self._then(work(), event))

    async def _then(self, work: Coroutine[Any, Any, None], event: LifecycleEvent) -> None:
        """Do `work` and tell of it; a step down is followed by the next even when it failed."""
        try:
            await work
        finally:
            self._tell(event)

    def _announce(self) -> None:
        # A gateway is called by nobody in the mesh, so it has no lease.
        if self.workload.role == "service":
            advertise = self._config.advertise
            self._member.register(
                build_registration(self.workload, advertise, self._ports.inbound, self._state.health)
            )

    # --- the proxy ---------------------------------------------------------------------------------

    def _start_proxy(self) -> None:
        if self._socket.parent != self._folder:
            private_folder(self._socket.parent)
        self._admin = EnvoyAdminClient(self._socket)
        self._proxy.start()
        self._spawn(self._watch_proxy(self._admin))
        reporter = Reporter(
            self.workload,
            self._admin,
            pid=lambda: self._proxy.pid,
            svid_expiry=lambda: self._member.svid_expiry,
            send=self._member.report,
            metrics_address=ports_module.format_address(self._config.advertise, self._ports.ready),
        )
        self._spawn(reporter.run())
        respondent = CommandHandler(self.workload.name, self._admin, self._logs(), self._spawn)
        self._member.serve_commands(respondent.handle)

    def _logs(self) -> dict[LogSource, Path]:
        """The logs that are kept: not that of an app which has a terminal, or is another's to start."""
        state, workload = self._config.state, self.workload
        kept: dict[LogSource, Path] = {"proxy": log_path(state, self._proxy.name)}
        if workload.command and not workload.attached:
            kept["app"] = log_path(state, workload.name)
        return kept

    async def _restart_proxy(self) -> None:
        self._announce()
        await self._proxy.restart()

    def _proxy_program(self) -> Program:
        if not self._state.app_started:
            # Until the app has been told them, ports that a stranger took are replaced.
            self._ports = self._allotment.reallocate(self.workload, self._ports)
            if self._state.phase is Phase.STARTING_PROXY:
                self._announce()
        if why := ports_module.port_conflict(self.workload, self._ports, self._config.bind):
            raise NotReadyError(why)
        self._socket.unlink(missing_ok=True)
        node = bootstrap_params(self.workload, self._config, self._ports, self._socket)
        file = self._folder / "bootstrap.json"
        write_private(file, json.dumps(bootstrap.build_bootstrap(node), indent=1))
        argv = bootstrap.envoy_command(str(self._config.envoy.absolute()), "./bootstrap.json")
        return Program(self._proxy.name, argv, {"PATH": "/usr/bin:/bin"}, self._folder, PROXY_GRACE)

    def _proxy_exited(self, why: str) -> None:
        self._problem("proxy", f"proxy: {why}")
        self._tell(LifecycleEvent.PROXY_LOST)

    async def _watch_proxy(self, admin: EnvoyAdminClient) -> None:
        misses = 0
        while True:
            well = await admin.is_ready() and (self._state.proxy_ready or await self._listens(admin))
            misses = 0 if well else misses + 1
            if well and not self._state.proxy_ready:
                self._problem("proxy", "")
                self._tell(LifecycleEvent.PROXY_READY)
            elif misses == MAX_MISSED_CHECKS and self._state.proxy_ready:
                self._problem("proxy", "proxy: it does not answer")
                self._tell(LifecycleEvent.PROXY_LOST)
            await asyncio.sleep(2.0 if well else 0.1)

    async def _listens(self, admin: EnvoyAdminClient) -> bool:
        """Whether the listeners that an app depends on are there, and its own ports still free.

        A gateway without any policy has no listeners, and is well all the same.
        """
        try:
            found = await admin.listener_ports()
        except EnvoyAdminError:
            return False
        inbound = [self._ports.inbound] if self.workload.ports else []
        wanted = {self._ports.outbound, *inbound} - {0}
        if lost := self._lost({*wanted, *self._ports.gateway.values()} - found):
            self._problem("proxy", f"proxy: port {lost} is in use{ports_module.process_on_port(lost)}")
            self._tell(LifecycleEvent.PORT_CONFLICT)
            # The proxy is started anew; by then this one must be gone.
            await asyncio.sleep(PROXY_GRACE)
            return False
        wanted |= {ports_module.split_address(each)[1] for each in self._ports.upstreams.values()}
        if wanted - found:
            self._problem("proxy", "proxy: waits for its listeners from the control plane")
        return not wanted - found

    def _lost(self, missing: set[int]) -> int:
        """A port that somebody else took after it was allotted; 0 when there is none."""
        bind, outbound = self._config.bind, self._ports.outbound
        where = {port: ports_module.LOOPBACK if port == outbound else bind for port in missing}
        taken = [port for port, address in where.items() if not ports_module.is_free(address, port)]
        if self.workload.command and not self._state.app_started:
            allotted = [self._ports.apps[port.name] for port in self.workload.ports if not port.app_port]
            taken += [port for port in allotted if not ports_module.is_free(ports_module.LOOPBACK, port)]
        return min(taken, default=0)

    async def _finish(self) -> None:
        """Let what is under way end; a proxy that is gone has nothing under way."""
        if self._admin is None:
            return
        try:
            await self._admin.drain_listeners()
            gateway = self.workload.role == "gateway"
            if not await self._admin.wait_idle(self.workload.stop_grace, include_outbound=gateway):
                self._log.warning("requests still under way", grace=self.workload.stop_grace)
        except EnvoyAdminError as error:
            self._log.warning("cannot wait for requests under way", why=str(error))

    async def _stop_proxy(self) -> None:
        await self._proxy.stop()
        await self._member.deregister()
        if self._admin is not None:
            await self._admin.close()

    # --- the app -----------------------------------------------------------------------------------

    def _start_app(self) -> None:
        if self.workload.command is not None:
            self._app.start()
        else:
            self._watch_app()

    def _app_program(self) -> Program:
        assert self.workload.command is not None  # noqa: S101  only started with one
        for name, port in self._ports.apps.items():
            if not ports_module.is_free(ports_module.LOOPBACK, port):
                holder = ports_module.process_on_port(port)
                raise NotReadyError(f"port {port} ({name} of {self.workload.name}) is in use{holder}")
        environment = self._environment(self.workload, self._ports)
        return Program(
            self.workload.name,
            self.workload.command,
            environment,
            self.workload.cwd,
            self.workload.stop_grace,
            self.workload.attached,
        )

    def _watch_app(self) -> None:
        """Ask the app how it is from now on; one that cannot be asked is well while it runs."""
        check = probe_for(self.workload, self._ports, self._session)
        if check is None:
            self._app_changed(True, "")
        else:
            self._health = self._spawn(monitor_health(check, self._app_changed))

    def _app_changed(self, healthy: bool, why: str) -> None:
        self._problem("app", "" if healthy else f"app: {why}")
        if healthy != self._state.app_healthy:
            self._tell(LifecycleEvent.APP_HEALTHY if healthy else LifecycleEvent.APP_UNHEALTHY)

    def _app_exited(self, why: str) -> None:
        if self._health is not None:
            self._health.cancel()
        self._problem("app", f"app: {why}")
        self._tell(LifecycleEvent.APP_UNHEALTHY)
        if self.workload.attached and self._app.exit_code is not None:
            self._ended()

    async def _stop_app(self) -> None:
        if self._health is not None:
            self._health.cancel()
        await self._app.stop()


def _app_metrics(workload: Workload) -> tuple[str, str] | None:
    """The app's first HTTP port and the path of its metrics there; None where it has none."""
    port = next((one.name for one in workload.ports if one.protocol == "http"), None)
    return (port, workload.metrics) if port and workload.metrics else None


def bootstrap_params(
    workload: Workload, config: AgentConfig, ports: ports_module.WorkloadPorts, admin_socket: Path
) -> bootstrap.BootstrapParams:
    """What the bootstrap of `workload`'s proxy depends on."""
    protocols = {port.name: port.protocol for port in workload.ports}
    return bootstrap.BootstrapParams(
        id=workload.name,
        cluster=workload.service,
        trust_domain=config.trust_domain,
        xds=split_host_port(config.addresses.xds, 15012),
        admin_socket=str(admin_socket),
        agent_socket=str(socket_path(config.state, figures.METRICS_SOCKET)),
        app_metrics=_app_metrics(workload),
        bind=config.bind,
        ready_port=ports.ready,
        outbound_port=ports.outbound,
        # Without a port nothing can come in, and Envoy refuses a listener without a filter chain.
        inbound_port=ports.inbound if workload.ports else 0,
        upstreams=tuple(ports.upstreams.items()),
        gateway_ports=tuple(ports.gateway.items()) if workload.role == "gateway" else None,
        apps=tuple(
            bootstrap.AppCluster(name, protocols[name], number) for name, number in ports.apps.items()
        ),
        zone=workload.labels.get(ZONE_LABEL, ""),
        otlp=split_host_port(config.addresses.otlp, 4317) if config.addresses.otlp else None,
        collector=split_host_port(config.otlp, 4317) if config.otlp else None,
        spans_port=ports.otlp,
    )
