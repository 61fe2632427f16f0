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

from control_plane.api.state import socket_path
from sidecar.capture import Allotment, environment
from sidecar.config import AgentConfig
from sidecar.control import server
from sidecar.control.client import SOCKET
from sidecar.figures import server as figures
from sidecar.files import private_folder, write_private
from sidecar.process import reap
from sidecar.status import AgentStatus
from sidecar.workload.app import Sidecar

log = structlog.get_logger(__name__)

STATUS_FILE = "agent.json"

QUIET_LIMIT = 5.0
"""Seconds to wait, once the gateways are gone, for what they had let in."""

STOP_LIMIT = 60.0
"""Seconds that stopping everything may take; whoever stops the agent waits longer."""


class Agent:
    """Keeps the sidecars of one configuration. `ended` hears of an attached app's own end."""

    def __init__(
        self,
        config: AgentConfig,
        session: aiohttp.ClientSession,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self._config = config
        allotment = Allotment(config.bind, random.random(), traced=config.traced)  # noqa: S311  spread, not secrecy
        base = dict(os.environ)
        interpreter = str(Path(sys.executable).parent)
        self._changed = asyncio.Event()
        self._sidecars = {
            workload.name: Sidecar(
                workload,
                config,
                allotment=allotment,
                session=session,
                app_environment=partial(environment, base, "" if workload.attached else interpreter),
                changed=self._changed.set,
                ended=ended,
            )
            for workload in config.workloads
        }

    def status(self) -> AgentStatus:
        """How all of them are doing."""
        workloads = tuple(sidecar.status() for sidecar in self._sidecars.values())
        return AgentStatus(pid=os.getpid(), workloads=workloads)

    def app_code(self, name: str) -> int | None:
        """How the app of a workload ended (negative: by a signal); None when it never did."""
        return self._sidecars[name].app_code

    def stop_apps_with(self, number: signal.Signals) -> None:
        """Have the apps stopped by this signal, once their turn comes."""
        for sidecar in self._sidecars.values():
            sidecar.stop_app_with(number)

    def kill(self) -> None:
        """End all of it at once, without grace."""
        for sidecar in self._sidecars.values():
            sidecar.kill()

    async def run(self, stop: asyncio.Event) -> None:
        """Keep them all until `stop` is set, then take them down gracefully."""
        lives = [asyncio.create_task(sidecar.run()) for sidecar in self._sidecars.values()]
        writing = asyncio.create_task(self._write_status())
        path = socket_path(self._config.state, SOCKET)
        if path.parent != self._config.state.absolute():
            private_folder(path.parent)
        control = await server.serve(path, self.answer)
        told = await figures.serve(socket_path(self._config.state, figures.SOCKET), self.status)
        await stop.wait()
        log.info("stopping")
        try:
            await asyncio.wait_for(self._stop_all(), STOP_LIMIT)
        except TimeoutError:
            log.warning("not everything stopped in time", limit=STOP_LIMIT)
            self.kill()
        control.close()
        await told.cleanup()
        writing.cancel()
        for life in lives:
            life.cancel()
        await asyncio.gather(writing, *lives, return_exceptions=True)
        path.unlink(missing_ok=True)
        (self._config.state / STATUS_FILE).unlink(missing_ok=True)

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
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
            await asyncio.gather(*(each.quiet(QUIET_LIMIT) for each in services))
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
    for record in await asyncio.to_thread(reap, config.state, names=own):
        log.warning("stopped what an earlier agent left", process=record.name, pid=record.pid)
    # No proxy settings from the environment, no cookies: the session only asks neighbours.
    async with aiohttp.ClientSession(trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as session:
        await Agent(config, session).run(stop)
