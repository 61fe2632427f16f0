"""The telemetry of the mesh put together: the port, the folds behind it, the picture they give."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from meshwright.control_plane.api.models.base import Breaker, ProxyStatus
from meshwright.control_plane.api.models.topology import EdgeHistory, ServiceHistory, ServiceList, Topology
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.config import Settings
from meshwright.control_plane.core.resolver import Resolver
from meshwright.control_plane.core.world import World
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.telemetry.export.client import OtlpExporter, create_exporter
from meshwright.control_plane.telemetry.ingest.queue import Signal
from meshwright.control_plane.telemetry.ingest.server import OtlpServer, SignalHandler
from meshwright.control_plane.telemetry.requests.store import RequestStore
from meshwright.control_plane.telemetry.topology import graph, history, service_table
from meshwright.control_plane.telemetry.topology.edges import EdgeTable, aggregate
from meshwright.control_plane.telemetry.topology.health import MeshContext, assess_nodes
from meshwright.control_plane.telemetry.topology.windows import TrafficWindows
from meshwright.control_plane.telemetry.traces.store import TraceStore
from meshwright.control_plane.tls import TlsCredentials

INGEST_DRAIN_SECONDS = 1.0
"""Seconds at the end for what came and was not taken up yet."""

EXPORT_DRAIN_SECONDS = 3.0
"""Seconds at the end for what waits to be forwarded."""


class TelemetryService:
    """Takes in what sidecars and services tell, and shows it."""

    def __init__(self, settings: Settings, credentials: TlsCredentials) -> None:
        self._settings = settings
        self.windows = TrafficWindows(settings.edge_ttl)
        self.traces = TraceStore()
        self.requests = RequestStore()
        self._trend_cache = service_table.TrendCache()
        folds: dict[Signal, SignalHandler] = {
            "metrics": self.windows.handle,
            "traces": self.traces.handle,
            "logs": self.requests.handle,
        }
        self._exporter = create_exporter(settings, folds)
        if self._exporter is not None:
            folds = {signal: _tee(self._exporter, signal, fold) for signal, fold in folds.items()}
        self._server = OtlpServer(
            settings.bind,
            settings.otlp_port,
            settings.trust_domain,
            credentials,
            folds,
            connection_age=settings.svid_ttl,
        )

    async def start(self) -> int:
        """Listen; returns the port. Raises InputError for one that is taken."""
        try:
            port = await self._server.start()
        except (RuntimeError, OSError):
            where = f"{self._settings.bind}:{self._settings.otlp_port}"
            raise InputError(
                f"{where}: cannot listen for telemetry: set MESH_OTLP_PORT or MESH_BIND"
            ) from None
        if self._exporter is not None:
            await self._exporter.start()
        return port

    async def stop(self) -> None:
        """Close the port, and send on what came."""
        await self._server.stop(INGEST_DRAIN_SECONDS if self._exporter else 0.0)
        if self._exporter is not None:
            await self._exporter.stop(EXPORT_DRAIN_SECONDS)

    def problems(self) -> tuple[str, ...]:
        """What is wrong with it, in words."""
        found = self._exporter.problem(time.monotonic()) if self._exporter else ""
        return (found,) if found else ()

    def update_credentials(self, credentials: TlsCredentials) -> None:
        """Use another certificate from now on."""
        self._server.update_credentials(credentials)

    def context(
        self,
        world: World,
        resolver: Resolver | None,
        breakers: tuple[Breaker, ...],
        proxies: Iterable[ProxyStatus],
    ) -> MeshContext:
        """What a picture needs besides traffic; `resolver` is that of the configuration in force."""
        known = world.services.values() if resolver else ()
        states = [(one.service, one.state) for one in proxies]
        return MeshContext(
            world,
            breakers,
            plaintext_services={
                one.name for one in known if resolver and resolver.node(one).mode == "Disabled"
            },
            connected={name for name, state in states if state != "disconnected"},
            recently_seen={name for name, _ in states},
            inbound_results=self.windows.inbound_results(time.monotonic()),
        )

    def topology(self, setting: MeshContext) -> Topology:
        """Who calls whom at this moment."""
        return graph.build_topology(self._aggregate(setting.world), setting)

    def services(self, setting: MeshContext) -> ServiceList:
        """All calls to each service, now and over the last quarter of an hour."""
        now, edges = time.monotonic(), self._aggregate(setting.world)
        found = tuple(assess_nodes(edges, setting))
        points = {
            one.name: self._trend_cache.get(one.name, self.windows.history, setting, now) for one in found
        }
        return service_table.build_service_table(edges, setting, found, points)

    def history(self, world: World, caller: str, callee: str) -> EdgeHistory | None:
        """The last quarter of an hour of an edge; None when nothing is known of it."""
        return history.edge_history(self.windows.history, world, caller, callee, time.monotonic())

    def service_history(self, world: World, name: str) -> ServiceHistory | None:
        """The last quarter of an hour of a service or gateway; None for one that is not known."""
        found = history.service_history(self.windows.history, world, name, time.monotonic())
        return found if found.points or name in world.services or name in world.gateways else None

    def _aggregate(self, world: World) -> EdgeTable:
        now = time.monotonic()
        return aggregate(self.windows.samples(now), world.services, now, self.windows.edge_ttl)


def _tee(on: OtlpExporter, signal: Signal, fold: SignalHandler) -> SignalHandler:
    """A fold that passes on what it takes."""

    def take(identity: Identity, body: bytes, now: float) -> Iterator[None]:
        yield from on.handle(signal, identity, body)
        yield from fold(identity, body, now)

    return take
