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

from control_plane.api.state import socket_path
from control_plane.api.types import ZONE_LABEL
from sidecar import bootstrap, capture
from sidecar.asks.client import Respondent, Source
from sidecar.client import host_port
from sidecar.config import AgentConfig, Workload
from sidecar.figures import server as figures
from sidecar.files import private_folder, write_private
from sidecar.health import check_for, watch
from sidecar.lifecycle import Command, Event, Phase, State, step
from sidecar.process import NotNowError, Program, Supervised, log_path
from sidecar.proxy.client import ProxyAdmin, ProxyError
from sidecar.report.client import Reporter
from sidecar.status import WorkloadStatus
from sidecar.workload.client import Membership, registration

log = structlog.get_logger(__name__)

PROXY_GRACE = 2.0
"""Seconds the proxy gets to end: nothing is under way in it any more."""

MISSES = 3
"""Unanswered questions in a row before a proxy that runs counts as lost."""


class Sidecar:
    """One workload: its proxy, its app when that is ours, its identity and its lease."""

    def __init__(
        self,
        workload: Workload,
        config: AgentConfig,
        *,
        allotment: capture.Allotment,
        session: aiohttp.ClientSession,
        app_environment: Callable[[Workload, capture.Ports], Mapping[str, str]],
        changed: Callable[[], None],
        ended: Callable[[], None],
    ) -> None:
        self.workload = workload
        self.stopped = asyncio.Event()
        self._config = config
        self._allotment = allotment
        self._session = session
        self._environment = app_environment
        self._changed = changed
        self._ended = ended
        self._log = log.bind(workload=workload.name)
        self._state = State()
        self._ports = allotment.ports(workload)
        self._folder = private_folder(config.state / "sidecars" / workload.name)
        self._socket = socket_path(self._folder, "admin.sock")
        self._admin: ProxyAdmin | None = None
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._problems: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._health: asyncio.Task[None] | None = None
        self._member = Membership(workload, config, self._folder, session, self._problem)
        self._proxy = Supervised(
            f"{workload.name}.proxy", self._proxy_program, config.state, self._proxy_exited
        )
        self._app = Supervised(
            workload.name, self._app_program, config.state, self._app_exited, started=self._watch_app
        )

        # What takes its time, and what is told when it is done.
        self._long: dict[Command, tuple[Callable[[], Coroutine[Any, Any, None]], Event]] = {
            Command.ENROL: (self._member.enrol, Event.ENROLLED),
            Command.DRAIN: (self._member.drain, Event.DRAINED),
            Command.FINISH: (self._finish, Event.QUIET),
            Command.STOP_APP: (self._stop_app, Event.APP_STOPPED),
            Command.DEREGISTER: (self._member.leave, Event.DEREGISTERED),
            Command.STOP_PROXY: (self._stop_proxy, Event.PROXY_STOPPED),
        }

    async def run(self) -> None:
        """Live one whole life: up, and after `stop` down again."""
        self._tell(Event.BEGIN)
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
        self._tell(Event.STOP)
        await self.stopped.wait()

    @property
    def app_code(self) -> int | None:
        """How its app ended last (negative: by a signal); None while it never has."""
        return self._app.code

    def stop_app_with(self, number: signal.Signals) -> None:
        """Have the app stopped by this signal, once its turn comes."""
        self._app.stop_signal = number

    def kill(self) -> None:
        """End its processes at once, without grace."""
        self._app.kill()
        self._proxy.kill()

    async def quiet(self, limit: float) -> None:
        """Wait until no request is under way here, `limit` seconds at most."""
        if self._admin is not None and self._state.proxy_ready and not self._state.going_down:
            try:
                await self._admin.quiet(limit)
            except ProxyError as error:
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
            expires=self._member.expires,
            starts={"app": self._app.starts, "proxy": self._proxy.starts},
            pids={name: pid for name, pid in pids.items() if pid is not None},
            ports=self._ports.named,
            logs=tuple(str(log_path(self._config.state, name)) for name in (*names, self._proxy.name)),
        )

    def _tell(self, event: Event) -> None:
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

    def _carry_out(self, command: Command) -> None:
        match command:
            case Command.ANNOUNCE:
                self._announce()
            case Command.START_PROXY:
                self._start_proxy()
            case Command.START_APP:
                self._start_app()
            case Command.RESTART_PROXY:
                self._spawn(self._restart_proxy())
            case _:
                work, event = self._long[command]
                self._spawn(self._then(work(), event))

    async def _then(self, work: Coroutine[Any, Any, None], event: Event) -> None:
        """Do `work` and tell of it; a step down is followed by the next even when it failed."""
        try:
            await work
        finally:
            self._tell(event)

    def _announce(self) -> None:
        # A gateway is called by nobody in the mesh, so it has no lease.
        if self.workload.role == "service":
            advertise = self._config.advertise
            self._member.announce(
                registration(self.workload, advertise, self._ports.inbound, self._state.health)
            )

    # --- the proxy ---------------------------------------------------------------------------------

    def _start_proxy(self) -> None:
        if self._socket.parent != self._folder:
            private_folder(self._socket.parent)
        self._admin = ProxyAdmin(self._socket)
        self._proxy.start()
        self._spawn(self._watch_proxy(self._admin))
        reporter = Reporter(
            self.workload,
            self._admin,
            pid=lambda: self._proxy.pid,
            expires=lambda: self._member.expires,
            send=self._member.report,
            figures=capture.address(self._config.advertise, self._ports.ready),
        )
        self._spawn(reporter.run())
        respondent = Respondent(self.workload.name, self._admin, self._logs(), self._spawn)
        self._member.listen(respondent.answer)

    def _logs(self) -> dict[Source, Path]:
        """The logs that are kept: not that of an app which has a terminal, or is another's to start."""
        state, workload = self._config.state, self.workload
        kept: dict[Source, Path] = {"proxy": log_path(state, self._proxy.name)}
        if workload.command and not workload.attached:
            kept["app"] = log_path(state, workload.name)
        return kept

    async def _restart_proxy(self) -> None:
        self._announce()
        await self._proxy.restart()

    def _proxy_program(self) -> Program:
        if not self._state.app_started:
            # Until the app has been told them, ports that a stranger took are replaced.
            self._ports = self._allotment.again(self.workload, self._ports)
            if self._state.phase is Phase.STARTING_PROXY:
                self._announce()
        if why := capture.taken(self.workload, self._ports, self._config.bind):
            raise NotNowError(why)
        self._socket.unlink(missing_ok=True)
        node = node_of(self.workload, self._config, self._ports, self._socket)
        file = self._folder / "bootstrap.json"
        write_private(file, json.dumps(bootstrap.bootstrap(node), indent=1))
        argv = bootstrap.command(str(self._config.envoy.absolute()), "./bootstrap.json")
        return Program(self._proxy.name, argv, {"PATH": "/usr/bin:/bin"}, self._folder, PROXY_GRACE)

    def _proxy_exited(self, why: str) -> None:
        self._problem("proxy", f"proxy: {why}")
        self._tell(Event.PROXY_LOST)

    async def _watch_proxy(self, admin: ProxyAdmin) -> None:
        misses = 0
        while True:
            well = await admin.ready() and (self._state.proxy_ready or await self._listens(admin))
            misses = 0 if well else misses + 1
            if well and not self._state.proxy_ready:
                self._problem("proxy", "")
                self._tell(Event.PROXY_READY)
            elif misses == MISSES and self._state.proxy_ready:
                self._problem("proxy", "proxy: it does not answer")
                self._tell(Event.PROXY_LOST)
            await asyncio.sleep(2.0 if well else 0.1)

    async def _listens(self, admin: ProxyAdmin) -> bool:
        """Whether the listeners that an app depends on are there, and its own ports still free.

        A gateway without any policy has no listeners, and is well all the same.
        """
        try:
            found = await admin.listeners()
        except ProxyError:
            return False
        inbound = [self._ports.inbound] if self.workload.ports else []
        wanted = {self._ports.outbound, *inbound} - {0}
        if lost := self._lost({*wanted, *self._ports.gateway.values()} - found):
            self._problem("proxy", f"proxy: port {lost} is in use{capture.holder(lost)}")
            self._tell(Event.PORTS_TAKEN)
            # The proxy is started anew; by then this one must be gone.
            await asyncio.sleep(PROXY_GRACE)
            return False
        wanted |= {capture.split(each)[1] for each in self._ports.upstreams.values()}
        if wanted - found:
            self._problem("proxy", "proxy: waits for its listeners from the control plane")
        return not wanted - found

    def _lost(self, missing: set[int]) -> int:
        """A port that somebody else took after it was allotted; 0 when there is none."""
        bind, outbound = self._config.bind, self._ports.outbound
        where = {port: capture.LOOPBACK if port == outbound else bind for port in missing}
        taken = [port for port, address in where.items() if not capture.is_free(address, port)]
        if self.workload.command and not self._state.app_started:
            allotted = [self._ports.apps[port.name] for port in self.workload.ports if not port.app_port]
            taken += [port for port in allotted if not capture.is_free(capture.LOOPBACK, port)]
        return min(taken, default=0)

    async def _finish(self) -> None:
        """Let what is under way end; a proxy that is gone has nothing under way."""
        if self._admin is None:
            return
        try:
            await self._admin.drain()
            gateway = self.workload.role == "gateway"
            if not await self._admin.quiet(self.workload.stop_grace, outbound=gateway):
                self._log.warning("requests still under way", grace=self.workload.stop_grace)
        except ProxyError as error:
            self._log.warning("cannot wait for requests under way", why=str(error))

    async def _stop_proxy(self) -> None:
        await self._proxy.stop()
        await self._member.leave()
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
            if not capture.is_free(capture.LOOPBACK, port):
                holder = capture.holder(port)
                raise NotNowError(f"port {port} ({name} of {self.workload.name}) is in use{holder}")
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
        check = check_for(self.workload, self._ports, self._session)
        if check is None:
            self._app_changed(True, "")
        else:
            self._health = self._spawn(watch(check, self._app_changed))

    def _app_changed(self, healthy: bool, why: str) -> None:
        self._problem("app", "" if healthy else f"app: {why}")
        if healthy != self._state.app_healthy:
            self._tell(Event.APP_HEALTHY if healthy else Event.APP_UNHEALTHY)

    def _app_exited(self, why: str) -> None:
        if self._health is not None:
            self._health.cancel()
        self._problem("app", f"app: {why}")
        self._tell(Event.APP_UNHEALTHY)
        if self.workload.attached and self._app.code is not None:
            self._ended()

    async def _stop_app(self) -> None:
        if self._health is not None:
            self._health.cancel()
        await self._app.stop()


def _app_metrics(workload: Workload) -> tuple[str, str] | None:
    """The app's first HTTP port and the path of its metrics there; None where it has none."""
    port = next((one.name for one in workload.ports if one.protocol == "http"), None)
    return (port, workload.metrics) if port and workload.metrics else None


def node_of(
    workload: Workload, config: AgentConfig, ports: capture.Ports, admin_socket: Path
) -> bootstrap.Node:
    """What the bootstrap of `workload`'s proxy depends on."""
    protocols = {port.name: port.protocol for port in workload.ports}
    return bootstrap.Node(
        id=workload.name,
        cluster=workload.service,
        trust_domain=config.trust_domain,
        xds=host_port(config.addresses.xds, 15012),
        admin_socket=str(admin_socket),
        agent_socket=str(socket_path(config.state, figures.SOCKET)),
        metrics=_app_metrics(workload),
        bind=config.bind,
        ready=ports.ready,
        outbound=ports.outbound,
        # Without a port nothing can come in, and Envoy refuses a listener without a filter chain.
        inbound=ports.inbound if workload.ports else 0,
        upstreams=tuple(ports.upstreams.items()),
        gateway=tuple(ports.gateway.items()) if workload.role == "gateway" else None,
        apps=tuple(
            bootstrap.AppCluster(name, protocols[name], number) for name, number in ports.apps.items()
        ),
        zone=workload.labels.get(ZONE_LABEL, ""),
        otlp=host_port(config.addresses.otlp, 4317) if config.addresses.otlp else None,
        collector=host_port(config.otlp, 4317) if config.otlp else None,
        spans=ports.otlp,
    )
