"""The agent: runs all sidecars of its configuration in one process and stops them in the right order."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import aiohttp
import structlog

from meshwright.control_plane.api.errors import os_error_text
from meshwright.control_plane.api.private_files import private_folder
from meshwright.control_plane.api.software_version import VERSION
from meshwright.control_plane.api.state_dir import socket_path
from meshwright.sidecar.advertised_address import AdvertisedAddress
from meshwright.sidecar.config import AgentConfig, Workload
from meshwright.sidecar.control_client import CONTROL_SOCKET
from meshwright.sidecar.control_socket import serve_control_socket
from meshwright.sidecar.files import write_private
from meshwright.sidecar.health_probe import HealthProbe
from meshwright.sidecar.hot_restart import HotRestartError
from meshwright.sidecar.lifecycle import Phase
from meshwright.sidecar.metrics_endpoint import METRICS_SOCKET, serve_metrics
from meshwright.sidecar.node_secrets import NodeSecrets
from meshwright.sidecar.orphans import reap_orphans
from meshwright.sidecar.ports import PortAllocator
from meshwright.sidecar.proxy_env import app_environment
from meshwright.sidecar.sidecar import Sidecar
from meshwright.sidecar.status import AgentStatus

log = structlog.get_logger(__name__)

STATUS_FILE = "agent.json"

STATUS_RETRY_DELAY = 1.0
"""Seconds until the status is written again when the disk is full."""

GATEWAY_DRAIN_TIMEOUT = 5.0
"""Seconds to wait, after the gateways have stopped, for the requests that they let in."""

SHUTDOWN_TIMEOUT = 60.0
"""Seconds for stopping everything. Whoever stops the agent waits longer."""

Become = Callable[[Sequence[str], Mapping[str, str | None]], None]
"""Runs a command line in place of this program, with these variables of the environment set or removed.
Returns only with an OSError."""


class Agent:
    """Runs the sidecars of one configuration. Calls `on_app_exit` when an attached app has exited.

    `become` replaces the program of this process; None: the one that started this process does that.
    """

    def __init__(
        self,
        config: AgentConfig,
        session: aiohttp.ClientSession,
        on_app_exit: Callable[[], None] = lambda: None,
        file: Path | None = None,
        become: Become | None = None,
    ) -> None:
        self._become = become
        self._config = config
        self._file = file
        allocator = PortAllocator(config.bind, random.random(), tracing=config.tracing)  # noqa: S311  spread, not secrecy
        address = AdvertisedAddress(config.advertise)
        base = dict(os.environ)
        interpreter = str(Path(sys.executable).parent)
        self._changed = asyncio.Event()
        self._stopping = False
        self._secrets = NodeSecrets(config.certificate_folder)
        self._tasks: dict[str, asyncio.Task[None]] = {}

        def sidecar(workload: Workload, probe: HealthProbe | None = None) -> Sidecar:
            return Sidecar(
                workload,
                config,
                allocator=allocator,
                session=session,
                address=address,
                app_environment=partial(app_environment, base, "" if workload.attached else interpreter),
                certificates=partial(self._secrets.reports, workload.name),
                on_change=self._changed.set,
                on_app_exit=on_app_exit,
                probe=probe,
            )

        self._new_sidecar = sidecar
        self._sidecars = {workload.name: sidecar(workload) for workload in config.workloads}

    def status(self) -> AgentStatus:
        """The status of all workloads."""
        workloads = tuple(sidecar.status() for sidecar in self._sidecars.values())
        return AgentStatus(pid=os.getpid(), version=VERSION, workloads=workloads)

    def app_exit_code(self, name: str) -> int | None:
        """The exit code of a workload's app (negative: by a signal); None if it never exited."""
        return self._sidecars[name].app_exit_code

    def set_stop_signal(self, number: signal.Signals) -> None:
        """Stop the apps with this signal when their turn comes."""
        for sidecar in self._sidecars.values():
            sidecar.set_stop_signal(number)

    def kill(self) -> None:
        """Kill all processes at once."""
        for sidecar in self._sidecars.values():
            sidecar.kill()

    async def run(self, stop: asyncio.Event) -> None:
        """Run all sidecars until `stop` is set, then stop them gracefully."""
        await self._take_over()
        for name, sidecar in self._sidecars.items():
            if name not in self._tasks:
                self._tasks[name] = asyncio.create_task(sidecar.run())
        writing = asyncio.create_task(self._write_status())
        path = socket_path(self._config.state, CONTROL_SOCKET)
        private_folder(path.parent)
        control = await serve_control_socket(path, self.handle_request)
        metrics = await serve_metrics(
            socket_path(self._config.state, METRICS_SOCKET), self.status, self._answer_check, self._secret
        )
        await stop.wait()
        log.info("stopping")
        self._stopping = True
        try:
            await asyncio.wait_for(self._stop_all(), SHUTDOWN_TIMEOUT)
        except TimeoutError:
            log.warning("not everything stopped in time: killing the rest", timeout=SHUTDOWN_TIMEOUT)
            self.kill()
        control.close()
        await metrics.cleanup()
        tasks = [*self._tasks.values(), writing]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        path.unlink(missing_ok=True)
        (self._config.state / STATUS_FILE).unlink(missing_ok=True)

    async def handle_request(self, request: dict[str, Any]) -> dict[str, Any]:
        """Handle a control request: status, start, stop, replace_proxy, replace_agent (see control_client).

        A start returns at once. Raises ValueError.
        """
        match request:
            case {"status": True}:
                return self.status().model_dump()
            case {"start": dict(fields)}:
                return {"started": self.start_workload(Workload.model_validate(fields))}
            case {"stop": str(name)}:
                return {"stopped": await self.stop_workload(name)}
            case {"replace_proxy": str(name)}:
                return {"replaced": await self.replace_proxy(name)}
            case {"replace_agent": list(command), "environment": dict(variables)}:
                self.replace_agent(command, variables)
        raise ValueError("unknown request: send one of status, start, stop, replace_proxy, replace_agent")

    def start_workload(self, workload: Workload, probe: HealthProbe | None = None) -> str:
        """Run one workload more from now on; `probe` tells its app's health instead of its own check.

        Raises ValueError if there is one of its name.
        """
        name = workload.name
        if self._stopping:
            raise ValueError("the agent stops")
        if name in self._sidecars:
            raise ValueError(f"there is a workload {name}: stop it first")
        self._remember((*self._workloads(), workload))
        self._sidecars[name] = self._new_sidecar(workload, probe)
        self._tasks[name] = asyncio.create_task(self._sidecars[name].run())
        return name

    async def stop_workload(self, name: str) -> str:
        """Stop one workload for good, gracefully. Raises ValueError if there is none of its name."""
        sidecar = self._sidecar(name)
        await sidecar.stop()
        if self._sidecars.get(name) is sidecar:
            del self._sidecars[name], self._tasks[name]
            self._changed.set()
            self._remember(self._workloads())
        return name

    async def replace_proxy(self, name: str) -> str:
        """Have a new Envoy take over from a workload's; raises ValueError if it cannot: that one goes on."""
        try:
            await self._sidecar(name).replace_proxy()
        except HotRestartError as error:
            raise ValueError(str(error)) from None
        return name

    def replace_agent(self, command: Sequence[str], environment: Mapping[str, str | None]) -> NoReturn:
        """Run another program in this process, as Become does, which takes over what runs.

        Raises ValueError if that is impossible: this agent goes on then.
        """
        if self._become is None:
            raise ValueError("`mesh up` started this agent: `mesh upgrade` replaces both")
        busy = [item for item in self.status().workloads if item.phase != Phase.RUNNING.value]
        if self._stopping or busy:
            phase = "stopping" if self._stopping else f"{busy[0].phase}: {busy[0].error}".removesuffix(": ")
            raise ValueError(f"it is {phase}: try again when it runs")
        log.info("another program takes over", command=list(command))
        try:
            self._become(command, environment)
        except OSError as error:
            raise ValueError(f"{command[0]}: cannot be run: {os_error_text(error)}") from None
        raise AssertionError("unreachable: this program has been replaced")

    def _sidecar(self, name: str) -> Sidecar:
        sidecar = self._sidecars.get(name)
        if sidecar is None:
            raise ValueError(f"no workload {name!r}: this agent runs {', '.join(self._sidecars) or 'none'}")
        return sidecar

    def _workloads(self) -> tuple[Workload, ...]:
        return tuple(sidecar.workload for sidecar in self._sidecars.values())

    def _remember(self, workloads: tuple[Workload, ...]) -> None:
        """Write them to the configuration file, from which a next agent goes on. Raises ValueError."""
        if self._file is None:
            return
        config = self._config.model_copy(update={"workloads": workloads})
        try:
            write_private(self._file, config.model_dump_json(indent=1))
        except OSError as error:
            raise ValueError(f"{self._file}: cannot be written: {os_error_text(error)}") from None

    async def _answer_check(self, name: str, host: str, headers: Mapping[str, str]) -> int:
        return await self._sidecars[name].answer_check(host, headers)

    async def _secret(self, name: str, secret: str, version: str) -> dict[str, Any] | None:
        """A secret for a workload's Envoy (see NodeSecrets.fetch); raises KeyError for an unknown one."""
        workload = self._sidecars[name].workload
        return await self._secrets.fetch(workload.name, secret, version)

    async def _take_over(self) -> None:
        """Go on with the processes of an earlier agent, and stop those whose settings have changed."""
        taken = {name for sidecar in self._sidecars.values() for name in sidecar.take_over()}
        if taken:
            log.info("went on with the processes of an earlier agent", processes=sorted(taken))
        others = {name for workload in self._sidecars for name in (workload, f"{workload}.proxy")} - taken
        for record in await asyncio.to_thread(reap_orphans, self._config.state, names=others):
            log.warning("stopped a process of an earlier agent", process=record.name, pid=record.pid)

    async def _stop_all(self) -> None:
        """Stop the gateways, let the requests that they let in finish, then stop the services.

        Services stop last because any of them may be in the middle of a call to another.
        """
        sidecars = self._sidecars.values()
        gateways = [sidecar for sidecar in sidecars if sidecar.workload.role == "gateway"]
        services = [sidecar for sidecar in sidecars if sidecar.workload.role == "service"]
        if gateways:
            await asyncio.gather(*(gateway.stop() for gateway in gateways))
            await asyncio.gather(*(service.wait_idle(GATEWAY_DRAIN_TIMEOUT) for service in services))
        await asyncio.gather(*(service.stop() for service in services))

    async def _write_status(self) -> None:
        """Keep `STATE/agent.json` current, at most ten writes a second."""
        while True:
            self._changed.clear()
            try:
                write_private(self._config.state / STATUS_FILE, self.status().model_dump_json(indent=1))
            except OSError as error:
                log.warning("cannot write the status", reason=str(error))
                await asyncio.sleep(STATUS_RETRY_DELAY)
                continue
            await self._changed.wait()
            await asyncio.sleep(0.1)


async def main(config: AgentConfig, file: Path | None = None) -> None:
    """Run the agent until SIGTERM or SIGINT. `file` is that of the configuration, and follows what runs."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    private_folder(config.state)
    # No proxy settings from the environment and no cookies: the session calls local services only.
    async with aiohttp.ClientSession(trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as session:
        await Agent(config, session, file=file).run(stop)
