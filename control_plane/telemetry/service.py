"""Telemetry of the mesh: the OTLP port, the stores behind it, and the topology computed from them."""

from __future__ import annotations

import time
from collections.abc import Container, Iterable, Iterator, Mapping

from meshwright.control_plane.api.models.proxies import ProxyStatus
from meshwright.control_plane.api.models.topology import (
    Breaker,
    EdgeHistory,
    ServiceHistory,
    ServiceList,
    Topology,
)
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.callers import CallerCheck
from meshwright.control_plane.config import Settings
from meshwright.control_plane.core.resolver import Resolver
from meshwright.control_plane.core.world import World
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.policies.hooks import TransportMode
from meshwright.control_plane.store.leases import InstanceKey
from meshwright.control_plane.telemetry.export.client import OtlpExporter, create_exporter
from meshwright.control_plane.telemetry.ingest.queue import Signal
from meshwright.control_plane.telemetry.ingest.sender import ACCEPT_ALL, SenderCheck
from meshwright.control_plane.telemetry.ingest.server import OtlpServer, SignalHandler
from meshwright.control_plane.telemetry.requests.call_memory import CallMemory, SeenCalls
from meshwright.control_plane.telemetry.requests.store import RequestStore
from meshwright.control_plane.telemetry.topology import graph, history, service_table
from meshwright.control_plane.telemetry.topology.edges import EdgeTable, aggregate
from meshwright.control_plane.telemetry.topology.first_readiness import FirstReadiness
from meshwright.control_plane.telemetry.topology.health import MeshContext, assess_nodes
from meshwright.control_plane.telemetry.topology.windows import TrafficWindows
from meshwright.control_plane.telemetry.traces import logged_spans
from meshwright.control_plane.telemetry.traces.store import TraceStore
from meshwright.control_plane.tls import TlsCredentials

INGEST_DRAIN_SECONDS = 1.0
"""How long queued messages are still processed at shutdown, if they are exported."""

EXPORT_DRAIN_SECONDS = 3.0
"""How long queued telemetry is still exported at shutdown."""


class TelemetryService:
    """Receives telemetry, stores and exports it, and computes the topology."""

    def __init__(
        self,
        settings: Settings,
        credentials: TlsCredentials,
        callers: CallerCheck | None = None,
        check: SenderCheck = ACCEPT_ALL,
    ) -> None:
        self._settings = settings
        self.calls = CallMemory(time.monotonic())
        self.windows = TrafficWindows(settings.edge_ttl, check, self.calls)
        self.traces = TraceStore(check=check)
        self.requests = RequestStore(check=check, calls=self.calls, domains=settings.host_domains)
        self._first_readiness = FirstReadiness()
        self._trend_cache = service_table.TrendCache()
        handlers: dict[Signal, SignalHandler] = {
            "metrics": self.windows.handle,
            "traces": self.traces.handle,
            "logs": self.requests.handle,
        }
        self._exporter = create_exporter(settings, handlers)
        if self._exporter is not None:
            handlers = {signal: _tee(self._exporter, signal, handler) for signal, handler in handlers.items()}
        handlers["logs"] = _divide(handlers["logs"], handlers["traces"], self.calls)
        self._server = OtlpServer(
            settings.bind,
            settings.otlp_port,
            settings.trust_domain,
            credentials,
            handlers,
            callers=callers,
            connection_age=settings.svid_ttl,
        )

    async def start(self) -> int:
        """Start listening and return the port. Raises InputError if it is in use."""
        try:
            port = await self._server.start()
        except (RuntimeError, OSError):
            address = f"{self._settings.bind}:{self._settings.otlp_port}"
            raise InputError(
                f"{address}: cannot listen for telemetry: set MESH_OTLP_PORT or MESH_BIND"
            ) from None
        if self._exporter is not None:
            await self._exporter.start()
        return port

    async def stop(self) -> None:
        """Close the port and export what was received."""
        await self._server.stop(INGEST_DRAIN_SECONDS if self._exporter else 0.0)
        if self._exporter is not None:
            await self._exporter.stop(EXPORT_DRAIN_SECONDS)

    def problems(self) -> tuple[str, ...]:
        """Problems to report in the status, one sentence each."""
        problem = self._exporter.problem(time.monotonic()) if self._exporter else ""
        return (problem,) if problem else ()

    def update_credentials(self, credentials: TlsCredentials) -> None:
        """Use another certificate for new connections."""
        self._server.update_credentials(credentials)

    def context(
        self,
        world: World,
        resolver: Resolver | None,
        breakers: tuple[Breaker, ...],
        proxies: Iterable[ProxyStatus],
        evicted_gateways: Mapping[str, str],
    ) -> MeshContext:
        """What the topology needs besides traffic; `resolver` is that of the current configuration."""
        proxies = tuple(proxies)
        return MeshContext(
            world,
            breakers,
            plaintext_services={
                service.name
                for service in world.services.values()
                if resolver and resolver.transport_mode(service.name) is TransportMode.DISABLED
            },
            connected={proxy.service for proxy in proxies if proxy.state != "disconnected"},
            recently_seen={proxy.service for proxy in proxies},
            inbound_results=self.windows.inbound_results(time.monotonic()),
            evicted_gateways=evicted_gateways,
            gateways={proxy.service for proxy in proxies if proxy.role == "gateway"},
            ready_since=self._first_readiness.observe(world.services, time.monotonic()),
        )

    def at_work(
        self, instances: Iterable[InstanceKey], connected: Container[tuple[str, str]]
    ) -> list[InstanceKey]:
        """The instances whose own Envoys show that they work: by metrics, or if idle by being `connected`."""
        now, trust_domain = time.monotonic(), self._settings.trust_domain
        result = []
        for key in instances:
            owner = key.identity(trust_domain)
            working = self.windows.works(owner, key.instance, now)
            if working or (working is None and (owner.name, key.instance) in connected):
                result.append(key)
        return result

    def topology(self, context: MeshContext) -> Topology:
        """The service graph of the current window."""
        return graph.build_topology(self._aggregate(context), context)

    def services(self, context: MeshContext) -> ServiceList:
        """All calls to each service, now and over the last quarter of an hour."""
        now, edges = time.monotonic(), self._aggregate(context)
        nodes = tuple(assess_nodes(edges, context))
        trends = {
            node.name: self._trend_cache.get(node.name, self.windows.history, context, now) for node in nodes
        }
        return service_table.build_service_table(edges, context, nodes, trends)

    def history(self, world: World, caller: str, callee: str) -> EdgeHistory | None:
        """The last quarter of an hour of an edge; None without traffic."""
        return history.edge_history(self.windows.history, world, caller, callee, time.monotonic())

    def discount_calls(self, caller: str, cluster: str, requests: int) -> None:
        """Take back requests that the mesh made in the caller's name."""
        self.calls.discount(caller, cluster, requests, time.monotonic())

    def seen_calls(self, seconds: float) -> SeenCalls:
        """Who called what within `seconds`, at most an hour."""
        return self.calls.since(seconds, time.monotonic())

    def service_history(self, world: World, name: str) -> ServiceHistory | None:
        """The last quarter of an hour of a service or gateway; None if it does not exist."""
        result = history.service_history(self.windows.history, world, name, time.monotonic())
        return result if result.points or name in world.services or name in world.gateways else None

    def _aggregate(self, context: MeshContext) -> EdgeTable:
        now, services = time.monotonic(), context.world.services
        return aggregate(self.windows.samples(now), services, now, self.windows.edge_ttl, context.ready_since)


def _tee(exporter: OtlpExporter, signal: Signal, handler: SignalHandler) -> SignalHandler:
    """A handler that exports a message before the given handler processes it."""

    def handle(identity: Identity, body: bytes, now: float) -> Iterator[None]:
        yield from exporter.handle(signal, identity, body)
        yield from handler(identity, body, now)

    return handle


def _divide(logs: SignalHandler, traces: SignalHandler, calls: CallMemory) -> SignalHandler:
    """A handler of log records that passes those of the span log on as spans, and remembers them."""

    def handle(identity: Identity, body: bytes, now: float) -> Iterator[None]:
        def remember(service: str, logged: Mapping[str, str]) -> None:
            if service == identity.name:
                calls.add_traced(service, logged, now)

        spans = yield from logged_spans.to_spans(body, remember)
        yield from logs(identity, body, now) if spans is None else traces(identity, spans, now)

    return handle
