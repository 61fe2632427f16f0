"""Composes the registry of an agent: what applications register, look up and resolve on this host."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import structlog
from aiohttp import web

from meshwright.control_plane.api.models.instances import InstanceStatus
from meshwright.control_plane.api.private_files import private_folder
from meshwright.sidecar.agent import Agent
from meshwright.sidecar.config import AgentConfig
from meshwright.sidecar.consul import answers
from meshwright.sidecar.consul.catalog import Catalog
from meshwright.sidecar.consul.dns import DnsServer, NameResolver
from meshwright.sidecar.consul.http import HttpApi
from meshwright.sidecar.consul.name_proxy import NameProxy
from meshwright.sidecar.consul.registry import Registry
from meshwright.sidecar.files import write_private
from meshwright.sidecar.ports import LOOPBACK, PortAllocator
from meshwright.sidecar.tasks import TaskSet

DEFAULT_DOMAINS = ("service.consul", "service.dc1.consul", "mesh")
HTTP_PORT, DNS_PORT = 8500, 8600
"""Consul's own."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ConsulSettings:
    """What is served. Port 0: it is not. `token`: what clients of the HTTP API have to send; empty: nothing.

    `file` keeps what is registered over a restart.
    """

    file: Path
    http_port: int = HTTP_PORT
    dns_port: int = DNS_PORT
    domains: tuple[str, ...] = DEFAULT_DOMAINS
    token: str = ""


@dataclass(frozen=True, slots=True)
class MeshCalls:
    """What the registry asks of the mesh: all instances, and the join token of a service."""

    instances: Callable[[], Awaitable[Iterable[InstanceStatus]]]
    join_token: Callable[[str], Awaitable[str]]


class ConsulRegistry:
    """Serves Consul's API for the services of one agent."""

    def __init__(
        self,
        agent: Agent,
        config: AgentConfig,
        settings: ConsulSettings,
        mesh: MeshCalls,
        session: aiohttp.ClientSession,
    ) -> None:
        self._agent = agent
        self._settings = settings
        self._mesh = mesh
        self._tokens = private_folder(config.state / "tokens")
        self._catalog = Catalog(mesh.instances)
        offset = random.random()  # noqa: S311  spread, not secrecy
        self._names = NameProxy(config.envoy, config.state, PortAllocator(LOOPBACK, offset), self._outbound)
        self._registry = Registry(agent, self._create_token, session, settings.file, self._on_change)
        node = answers.Node(socket.gethostname())
        api = HttpApi(self._registry, self._catalog, self._names.address_of, node, settings.token)
        self._runner = web.AppRunner(
            api.application(),
            access_log=None,
            handle_signals=False,
            shutdown_timeout=0.5,
            handler_cancellation=True,
        )
        self._dns = DnsServer(NameResolver(settings.domains, self._locate))
        self._tasks = TaskSet("consul", lambda _problem: None)

    async def start(self) -> None:
        """Serve from now on. Raises OSError if a port is taken."""
        await self._runner.setup()
        if self._settings.http_port:
            await web.TCPSite(self._runner, LOOPBACK, self._settings.http_port).start()
        if self._settings.dns_port:
            await self._dns.start(LOOPBACK, self._settings.dns_port)
        self._names.start()
        self._tasks.keep(self._catalog.run)
        self._tasks.keep(self._registry.run)
        await self._registry.restore()

    async def stop(self) -> None:
        """Serve no more; the sidecars are the agent's to stop."""
        self._dns.close()
        await self._runner.cleanup()
        await self._tasks.cancel_all()
        await self._registry.close()
        await self._names.stop()

    def _on_change(self) -> None:
        self._catalog.refresh()
        self._names.follow_sidecar()

    def _outbound(self) -> int:
        """The outbound port of the sidecar of the service that registered first; 0 without any."""
        names = [service.instance for service in self._registry.services.values()]
        ports = {status.name: status.ports.get("outbound", 0) for status in self._agent.status().workloads}
        return next((ports[name] for name in names if ports.get(name)), 0)

    async def _create_token(self, service: str) -> Path:
        path = self._tokens / service
        token = await self._mesh.join_token(service)
        await asyncio.to_thread(write_private, path, f"{token}\n")
        return path

    async def _locate(self, service: str, tag: str) -> tuple[str, int] | None:
        if not self._catalog.leads_to(service, tag):
            return None
        return await self._names.address_of(service, answers.port_of(self._catalog.services[service]))


async def serve(config: AgentConfig, settings: ConsulSettings, mesh: MeshCalls) -> None:
    """Run an agent with the registry until SIGTERM or SIGINT. Raises OSError if a port is taken."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with aiohttp.ClientSession(trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as session:
        agent = Agent(config, session)
        registry = ConsulRegistry(agent, config, settings, mesh, session)
        running = asyncio.create_task(agent.run(stop))
        try:
            await registry.start()
            log.info("serving", http=settings.http_port, dns=settings.dns_port, domains=settings.domains)
            await stop.wait()
        finally:
            stop.set()
            # Callers leave while the application can still look others up.
            await running
            await registry.stop()
