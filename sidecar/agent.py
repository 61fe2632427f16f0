"""The agent: every sidecar of its configuration in one process, and the order in which all go down."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import structlog

from meshwright.control_plane.api.state_dir import socket_path
from meshwright.sidecar import control_socket
from meshwright.sidecar import metrics_endpoint as figures
from meshwright.sidecar.config import AgentConfig
from meshwright.sidecar.control_client import CONTROL_SOCKET
from meshwright.sidecar.files import private_folder, write_private
from meshwright.sidecar.ports import PortAllocator, app_environment
from meshwright.sidecar.sidecar import Sidecar
from meshwright.sidecar.status import AgentStatus
from meshwright.sidecar.supervisor import reap_orphans

log = structlog.get_logger(__name__)

STATUS_FILE = "agent.json"

GATEWAY_DRAIN_TIMEOUT = 5.0
"""Seconds to wait, once the gateways are gone, for what they had let in."""

SHUTDOWN_TIMEOUT = 60.0
"""Seconds that stopping everything may take; whoever stops the agent waits longer."""


class Agent:
    """Keeps the sidecars of one configuration. `ended` hears of an attached app's own end."""

    def __init__(
        self,
        config: AgentConfig,
        session: aiohttp.ClientSession,
        on_app_exit: Callable[[], None] = lambda: None,
    ) -> None:
        self._config = config
        allotment = PortAllocator(config.bind, random.random(), tracing=config.tracing)  # noqa: S311  spread, not secrecy
        base = dict(os.environ)
        interpreter = str(Path(sys.executable).parent)
        self._changed = asyncio.Event()
        self._sidecars = {
            workload.name: Sidecar(
                workload,
                config,
                allocator=allotment,
                session=session,
                app_environment=partial(app_environment, base, "" if workload.attached else interpreter),
                on_change=self._changed.set,
                on_app_exit=on_app_exit,
            )
            for workload in config.workloads
        }

    def status(self) -> AgentStatus:
        """How all of them are doing."""
        workloads = tuple(meshwright.sidecar.status() for sidecar in self._sidecars.values())
        return AgentStatus(pid=os.getpid(), workloads=workloads)

    def app_exit_code(self, name: str) -> int | None:
        """How the app of a workload ended (negative: by a signal); None when it never did."""
        return self._sidecars[name].app_exit_code

    def set_stop_signal(self, number: signal.Signals) -> None:
        """Have the apps stopped by this signal, once their turn comes."""
        for sidecar in self._sidecars.values():
            sidecar.set_stop_signal(number)

    def kill(self) -> None:
        """End all of it at once, without grace."""
        for sidecar in self._sidecars.values():
            sidecar.kill()

    async def run(self, stop: asyncio.Event) -> None:
        """Keep them all until `stop` is set, then take them down gracefully."""
        lives = [asyncio.create_task(sidecar.run()) for sidecar in self._sidecars.values()]
        writing = asyncio.create_task(self._write_status())
        path = socket_path(self._config.state, CONTROL_SOCKET)
        if path.parent != self._config.state.absolute():
            private_folder(path.parent)
        control = await control_socket.serve_control_socket(path, self.handle_request)
        told = await figures.serve_metrics(
            socket_path(self._config.state, figures.METRICS_SOCKET), self.status
        )
        await stop.wait()
        log.info("stopping")
        try:
            await asyncio.wait_for(self._stop_all(), SHUTDOWN_TIMEOUT)
        except TimeoutError:
            log.warning("not everything stopped in time", limit=SHUTDOWN_TIMEOUT)
            self.kill()
        control.close()
        await told.cleanup()
        writing.cancel()
        for life in lives:
            life.cancel()
        await asyncio.gather(writing, *lives, return_exceptions=True)
        path.unlink(missing_ok=True)
        (self._config.state / STATUS_FILE).unlink(missing_ok=True)

    async def handle_request(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request of the control socket: `{"status": true}` or `{"stop": NAME}`; raises ValueError."""
        if request.get("status"):
            return self.status().model_dump()
        name = request.get("stop")
        if name is None:
            raise ValueError('ask {"status": true} or {"stop": NAME}')
        sidecar = self._sidecars.get(name) if isinstance(name, str) else None
        if sidecar is None:
            raise ValueError(f"no workload {name!r} here: there are {', '.join(self._sidecars) or 'none'}")
        await sidecar.stop()
        return {"stopped": name}

    async def _stop_all(self) -> None:
        """Gateways first, so that nothing new comes in; then what they let in ends; then everything else.

        Only after that do the services go: each may be in the middle of a call to any other.
        """
        gateways = [each for each in self._sidecars.values() if each.workload.role == "gateway"]
        services = [each for each in self._sidecars.values() if each.workload.role == "service"]
        if gateways:
            await asyncio.gather(*(each.stop() for each in gateways))
            await asyncio.gather(*(each.wait_idle(GATEWAY_DRAIN_TIMEOUT) for each in services))
        await asyncio.gather(*(each.stop() for each in services))

    async def _write_status(self) -> None:
        """Keep `STATE/agent.json` as true as a tenth of a second allows."""
        while True:
            self._changed.clear()
            write_private(self._config.state / STATUS_FILE, self.status().model_dump_json(indent=1))
            await self._changed.wait()
            await asyncio.sleep(0.1)


async def main(config: AgentConfig) -> None:
    """Run the agent until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    config.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    own = {name for workload in config.workloads for name in (workload.name, f"{workload.name}.proxy")}
    for record in await asyncio.to_thread(reap_orphans, config.state, names=own):
        log.warning("stopped what an earlier agent left", process=record.name, pid=record.pid)
    # No proxy settings from the environment, no cookies: the session only asks neighbours.
    async with aiohttp.ClientSession(trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as session:
        await Agent(config, session).run(stop)
