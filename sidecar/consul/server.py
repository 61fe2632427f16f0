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

from meshwright.control_plane.api.errors import ApiError, UnreachableError
from meshwright.control_plane.api.models.instances import InstanceStatus
from meshwright.control_plane.api.private_files import private_folder
from meshwright.sidecar.agent import Agent
from meshwright.sidecar.config import AgentConfig
from meshwright.sidecar.consul import answers
from meshwright.sidecar.consul.callers import ClientSocket
from meshwright.sidecar.consul.catalog import Catalog
from meshwright.sidecar.consul.dns import DnsServer, NameResolver
from meshwright.sidecar.consul.http import HttpApi
from meshwright.sidecar.consul.lookups import Lookups
from meshwright.sidecar.consul.name_proxy import NameProxy, ServiceCall
from meshwright.sidecar.consul.outbound import OutboundSidecars
from meshwright.sidecar.consul.registry import Registry
from meshwright.sidecar.files import write_private
from meshwright.sidecar.ports import LOOPBACK, PortAllocator
from meshwright.sidecar.tasks import TaskSet

DEFAULT_DOMAINS = ("service.consul", "service.dc1.consul", "mesh")
HTTP_PORT, DNS_PORT = 8500, 8600
"""Consul's own."""

ADDRESSES_FILE = "consul-addresses.json"
"""Beside the file of what is registered."""

FOLLOW_INTERVAL = 0.5
"""Seconds between looks at the ports of this host's sidecars."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ConsulSettings:
    """What is served. Port 0: it is not. `token`: what clients of the HTTP API have to send; empty: nothing.

    `file` keeps what is registered over a restart. `caller`: the service as which clients call that are not
    recognised; empty: see OutboundSidecars. `tcp_services`: those whose protocol is TCP without saying so.
    """

    file: Path
    http_port: int = HTTP_PORT
    dns_port: int = DNS_PORT
    domains: tuple[str, ...] = DEFAULT_DOMAINS
    token: str = ""
    caller: str = ""
    tcp_services: tuple[str, ...] = ()


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
        self._registry = Registry(
            agent,
            self._create_token,
            session,
            settings.file,
            self._on_change,
            tcp_services=settings.tcp_services,
        )
        self._outbound = OutboundSidecars(
            agent, self._create_token, lambda: self._registry.ports, settings.caller
        )
        allocator = PortAllocator(LOOPBACK, offset)
        self._names = NameProxy(
            config.envoy,
            config.state,
            allocator,
            self._outbound.port_of,
            file=settings.file.with_name(ADDRESSES_FILE),
        )
        node = answers.Node(socket.gethostname())
        lookups = Lookups(self._catalog, self._address_for, node, self._registry.id_of)
        api = HttpApi(self._registry, lookups, node, self._note_registration, settings.token)
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
        self._tasks.keep(self._follow_sidecars)
        await self._registry.restore()
        self._tasks.keep(self._restore_callers)

    async def stop(self) -> None:
        """Serve no more; the sidecars are the agent's to stop."""
        self._dns.close()
        await self._runner.cleanup()
        await self._tasks.cancel_all()
        await self._registry.close()
        await self._names.stop()

    def _on_change(self) -> None:
        self._catalog.refresh()

    async def _follow_sidecars(self) -> None:
        """Lead callers to the ports of sidecars that started again."""
        while True:
            self._names.follow_sidecars()
            await asyncio.sleep(FOLLOW_INTERVAL)

    async def _restore_callers(self) -> None:
        """Let clients that are no registered service use the addresses of the last run."""
        caller = self._outbound.unknown_caller
        while caller in self._names.callers:
            try:
                return await self._outbound.wait_ready(caller)
            except UnreachableError:
                await asyncio.sleep(FOLLOW_INTERVAL)
            except (ApiError, ValueError) as error:
                log.warning("addresses of the last run lead nowhere", caller=caller, reason=str(error))
                return None
        return None

    async def _create_token(self, service: str) -> Path:
        path = self._tokens / service
        token = await self._mesh.join_token(service)
        await asyncio.to_thread(write_private, path, f"{token}\n")
        return path

    async def _note_registration(self, request: web.Request, service: str) -> None:
        await self._outbound.note_registration(service, _client(request))
        self._catalog.touch()

    async def _address_for(self, request: web.Request, service: str, port: int) -> tuple[str, int] | None:
        caller = await self._outbound.caller_of(_client(request), request.transport)
        return await self._address_of(caller, service, port)

    async def _locate(self, service: str, tag: str, client: ClientSocket) -> tuple[str, int] | None:
        if not self._catalog.leads_to(service, tag):
            return None
        caller = await self._outbound.caller_of(client)
        return await self._address_of(caller, service, answers.port_of(self._catalog.services[service]))

    async def _address_of(self, caller: str, service: str, port: int) -> tuple[str, int] | None:
        await self._outbound.wait_ready(caller)
        tcp_port = answers.tcp_port_of(self._catalog.services.get(service, ()))
        return await self._names.address_of(ServiceCall(caller, service, tcp_port), port or tcp_port)


def _client(request: web.Request) -> ClientSocket:
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client has left")
    return ClientSocket(
        "tcp", transport.get_extra_info("peername")[1], transport.get_extra_info("sockname")[1]
    )


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
