"""The Envoy of one workload: its ports, bootstrap and process, and whether it is ready."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path

import structlog

from meshwright.control_plane.api.private_files import private_folder
from meshwright.control_plane.api.state_dir import socket_path
from meshwright.control_plane.api.trials import TRIAL_SOCKET
from meshwright.sidecar import hot_restart
from meshwright.sidecar.addresses import split_address
from meshwright.sidecar.bootstrap import build_bootstrap, envoy_command
from meshwright.sidecar.child_process import Program
from meshwright.sidecar.config import AgentConfig, Workload
from meshwright.sidecar.envoy_admin import EnvoyAdminClient, EnvoyAdminError
from meshwright.sidecar.files import write_private
from meshwright.sidecar.hot_restart import HotRestartError
from meshwright.sidecar.lifecycle import LifecycleEvent, LifecycleState, Phase
from meshwright.sidecar.orphans import reap_orphans
from meshwright.sidecar.port_file import dump_ports, save_ports
from meshwright.sidecar.ports import (
    LOOPBACK,
    PortAllocator,
    WorkloadPorts,
    is_free,
    pid_on_port,
    port_conflict,
    process_on_port,
)
from meshwright.sidecar.proxy_bootstrap import bootstrap_params
from meshwright.sidecar.proxy_credential import ProxyCredential
from meshwright.sidecar.supervisor import NotReadyError, Supervisor

STOP_GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL. No request is in flight by then."""

MAX_MISSED_CHECKS = 3
"""Consecutive readiness checks without success before a ready proxy counts as lost."""


_APP_ONLY = {"token_file", "command", "attached", "cwd", "env", "health", "stop_grace", "port_option"}
"""Fields of a Workload that concern its app only, or what is said of it."""

_CONFIG = {"addresses", "bind", "trust_domain", "otlp", "proxy_credential"}
"""Fields of the configuration that Envoy's bootstrap depends on. The binary is not one: another installation
has its own, and what runs goes on until `mesh upgrade` replaces it."""


class ProxyProcess:
    """Runs Envoy. Callers of its outbound port need `credential`. `state` returns the sidecar's state.

    Calls `on_event` when the proxy becomes ready or is lost, `on_problem` with what is wrong (empty:
    nothing), `on_ports` when ports may have changed.
    """

    def __init__(
        self,
        workload: Workload,
        config: AgentConfig,
        allocator: PortAllocator,
        folder: Path,
        credential: ProxyCredential | None,
        *,
        state: Callable[[], LifecycleState],
        on_event: Callable[[LifecycleEvent], None],
        on_problem: Callable[[str], None],
        on_ports: Callable[[], None],
    ) -> None:
        self._workload = workload
        self._config = config
        self._allocator = allocator
        self._folder = folder
        self._credential = credential
        self._state = state
        self._on_event = on_event
        self._on_problem = on_problem
        self._on_ports = on_ports
        self._log = structlog.get_logger(__name__).bind(workload=workload.name)
        self._socket = socket_path(folder, "admin.sock")
        self.trial_socket = socket_path(folder, TRIAL_SOCKET)
        self._admin: EnvoyAdminClient | None = None
        self._handing_over = False
        self.ports = allocator.allocate_all(workload)
        self.process = Supervisor(f"{workload.name}.proxy", self._program, config.state, self._exited)

    def adopt(self, ports: WorkloadPorts) -> bool:
        """Use the ports of an earlier agent, and go on with its Envoy if that runs with the same settings."""
        self.ports = ports
        return self.process.adopt(self._envoy())

    def start(self) -> EnvoyAdminClient:
        """Start Envoy; returns the client of its admin interface."""
        self._admin = EnvoyAdminClient(self._socket)
        self.process.start()
        return self._admin

    async def stop(self) -> None:
        """Stop Envoy for good, and one that still finishes its requests after a hot restart."""
        await self.process.stop()
        await asyncio.to_thread(self._reap)
        hot_restart.remove_traces(self._folder)

    async def replace(self) -> None:
        """Have a new Envoy take over the ports, and let the one before finish its requests.

        Raises HotRestartError if that is impossible or fails; the one before goes on then.
        """
        pid, envoy = self.process.pid, self._config.envoy
        if pid is None or not self._state().proxy_ready or self._state().stopping or self._handing_over:
            raise HotRestartError("its Envoy is not ready")
        self._handing_over = True
        try:
            if reason := await asyncio.to_thread(hot_restart.obstacle, self._folder, pid, envoy):
                raise HotRestartError(reason)
            self._write_bootstrap()
            await asyncio.to_thread(hot_restart.check_bootstrap, envoy, self._folder)
            await self._hand_over(self._envoy(hot_restart.next_options(self._folder, pid)))
        except OSError as error:
            raise HotRestartError(str(error)) from None
        finally:
            self._handing_over = False

    async def _hand_over(self, program: Program) -> None:
        assert self._admin is not None  # noqa: S101  started
        aside = self._socket.with_suffix(".old")
        self._socket.rename(aside)
        successor = EnvoyAdminClient(self._socket)
        reason = "it was not started"
        try:
            # Ready means that it has its configuration and the one before stops accepting.
            reason = await self.process.hand_over(program, successor.is_ready, hot_restart.TIMEOUT)
        finally:
            await successor.close()
            if reason:
                aside.rename(self._socket)
            aside.unlink(missing_ok=True)
            await self._admin.reconnect()
        if not reason:
            self._log.info("an Envoy took over", pid=self.process.pid)
            return
        if not await self._admin.is_ready():  # the new one had closed it already
            hot_restart.mark_failed(self._folder)
            self._on_problem(f"proxy: serves, but cannot be observed: its hot restart failed: {reason}")
        raise HotRestartError(reason)

    def _reap(self) -> None:
        """Kill an Envoy before this one that has not ended."""
        names = {f"{self.process.name}.{suffix}" for suffix in ("previous", "next")}
        reap_orphans(self._config.state, names=names, signals=(signal.SIGKILL,))

    async def close(self) -> None:
        """Close the connection to the admin interface."""
        if self._admin is not None:
            await self._admin.close()

    async def wait_idle(self, limit: float, *, include_outbound: bool = True) -> None:
        """Wait up to `limit` seconds for in-flight requests to finish (see EnvoyAdminClient.wait_idle)."""
        if self._admin is not None:
            try:
                await self._admin.wait_idle(limit, include_outbound)
            except EnvoyAdminError as error:
                self._log.info("cannot check in-flight requests", reason=str(error))

    async def drain_requests(self) -> None:
        """Take in no more requests and finish those in flight. An Envoy that is gone has none.

        Nobody tells the clients of a gateway that it drains, as the control plane tells sidecars. So it is
        not ready for a while, in which load balancers take it out, and then closes its ports.
        """
        if self._admin is None:
            return
        grace = self._workload.stop_grace
        gateway = self._workload.role == "gateway"
        try:
            await self._admin.fail_readiness()
            if gateway:
                await asyncio.sleep(self._config.drain_delay)
                await self._admin.close_listeners()
            else:
                await self._admin.drain_listeners()
            if not await self._admin.wait_idle(grace, include_outbound=gateway):
                self._log.warning("requests still in flight", grace=grace)
        except EnvoyAdminError as error:
            self._log.warning("cannot wait for in-flight requests", reason=str(error))

    async def watch(self) -> None:
        """Check readiness until cancelled."""
        assert self._admin is not None  # noqa: S101  started
        misses = 0
        while not self._state().ending:
            if self._handing_over or (hot_restart.has_failed(self._folder) and self.process.pid):
                misses = 0
                await asyncio.sleep(0.5)
                continue
            ready = await self._admin.is_ready() and (
                self._state().proxy_ready or await self._has_listeners(self._admin)
            )
            misses = 0 if ready else misses + 1
            if ready and not self._state().proxy_ready:
                self._on_problem("")
                self._on_event(LifecycleEvent.PROXY_READY)
            elif misses == MAX_MISSED_CHECKS and self._state().proxy_ready:
                self._on_problem("proxy: does not respond")
                self._on_event(LifecycleEvent.PROXY_LOST)
            await asyncio.sleep(2.0 if ready else 0.1)

    def _program(self) -> Program:
        if not self._state().app_started:
            # The app does not know its ports yet, so conflicting ones can still be replaced.
            self.ports = self._allocator.reallocate(self._workload, self.ports)
            if self._state().phase is Phase.STARTING_PROXY:
                self._on_ports()
        if conflict := port_conflict(self._workload, self.ports, self._config.bind):
            raise NotReadyError(conflict)
        private_folder(self._socket.parent)
        self._socket.unlink(missing_ok=True)
        self._place_trial_socket()
        save_ports(self._folder, self.ports)
        self._write_bootstrap()
        self._reap()
        if self._workload.is_replaceable:
            return self._envoy()  # how it ends is known
        return self._envoy(hot_restart.first_options(self._folder))

    def _write_bootstrap(self) -> None:
        params = bootstrap_params(self._workload, self._config, self.ports, self._socket, self._credential)
        write_private(self._folder / "bootstrap.json", json.dumps(build_bootstrap(params), indent=1))

    def _place_trial_socket(self) -> None:
        """Make room for the socket, and make it reachable in Envoy's working directory (see api.trials)."""
        self.trial_socket.unlink(missing_ok=True)
        local = self._folder / TRIAL_SOCKET
        if self.trial_socket != local.absolute():
            local.unlink(missing_ok=True)
            local.symlink_to(self.trial_socket)

    def _envoy(self, succession: tuple[str, ...] = hot_restart.DISABLED) -> Program:
        # Settings without defaults, and not the bootstrap made of them: after an update of this package the
        # next agent goes on with the Envoys that run, which get a new bootstrap when they start again.
        workload = self._workload.model_dump_json(exclude=_APP_ONLY, exclude_defaults=True)
        config = self._config.model_dump_json(include=_CONFIG, exclude_defaults=True)
        settings = f"{workload} {config} {dump_ports(self.ports)}"
        workers = self._workload.worker_threads
        argv = envoy_command(str(self._config.envoy.absolute()), "./bootstrap.json", workers, succession)
        environment = {"PATH": "/usr/bin:/bin"}
        return Program(
            self.process.name,
            argv,
            environment,
            self._folder,
            STOP_GRACE,
            detached=succession != hot_restart.DISABLED,
            settings=settings,
        )

    def _exited(self, reason: str) -> None:
        self._on_problem(f"proxy: {reason}")
        self._on_event(LifecycleEvent.PROXY_LOST)

    async def _has_listeners(self, admin: EnvoyAdminClient) -> bool:
        """Whether the listeners that the app depends on exist. A gateway without policies needs none.

        Reports a conflict when another process has taken a port that Envoy or the app still needs.
        """
        try:
            open_ports = await admin.listener_ports()
        except EnvoyAdminError:
            return False
        inbound = [self.ports.inbound] if self._workload.ports else []
        needed = {self.ports.outbound, *inbound} - {0}
        if port := self._taken_port({*needed, *self.ports.gateway.values()} - open_ports):
            self._on_problem(f"proxy: port {port} is in use{process_on_port(port)}")
            self._on_event(LifecycleEvent.PORT_CONFLICT)
            # The proxy restarts. Wait until the old process is gone.
            await asyncio.sleep(STOP_GRACE)
            return False
        needed |= {split_address(address)[1] for address in self.ports.upstreams.values()}
        if needed - open_ports:
            self._on_problem("proxy: waiting for its listeners from the control plane")
        return not needed - open_ports

    def _taken_port(self, missing: set[int]) -> int:
        """An allocated port that another process has taken since; 0 when there is none.

        Envoy itself may have opened a missing listener meanwhile.
        """
        bind, outbound = self._config.bind, self.ports.outbound
        hosts = {port: LOOPBACK if port == outbound else bind for port in missing}
        taken = [port for port, host in hosts.items() if self._is_taken(host, port)]
        if self._workload.command and not self._state().app_started:
            allocated = [self.ports.apps[port.name] for port in self._workload.ports if not port.app_port]
            taken += [port for port in allocated if not is_free(LOOPBACK, port)]
        return min(taken, default=0)

    def _is_taken(self, host: str, port: int) -> bool:
        """Whether another process listens there. Envoy takes the port of a new listener before it listens."""
        return not is_free(host, port) and pid_on_port(port) not in (self.process.pid, None)
