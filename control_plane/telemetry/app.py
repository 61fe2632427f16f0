"""The telemetry of the mesh put together: the port, the folds behind it, the picture they give."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from control_plane.api.seen import History, ServiceHistory, Services, Topology
from control_plane.api.spiffe import Identity
from control_plane.api.types import Breaker, ProxyStatus
from control_plane.config import Settings
from control_plane.core.resolve import Resolver
from control_plane.core.world import World
from control_plane.errors import InputError
from control_plane.mtls.server import Credentials
from control_plane.telemetry import history, services, topology
from control_plane.telemetry.edges import Edges, gather
from control_plane.telemetry.flows import Flows
from control_plane.telemetry.forward.client import Forward, forward
from control_plane.telemetry.intake import Signal
from control_plane.telemetry.requests import Requests
from control_plane.telemetry.server import Intake, Take
from control_plane.telemetry.traces import Traces
from control_plane.telemetry.verdict import Setting, nodes

FOLDING_ENDS = 1.0
"""Seconds at the end for what came and was not taken up yet."""

FORWARDING_ENDS = 3.0
"""Seconds at the end for what waits to be forwarded."""


class Telemetry:
    """Takes in what sidecars and services tell, and shows it."""

    def __init__(self, settings: Settings, credentials: Credentials) -> None:
        self._settings = settings
        self.flows = Flows(settings.edge_fades)
        self.traces = Traces()
        self.requests = Requests()
        self._trends = services.Trends()
        folds: dict[Signal, Take] = {
            "metrics": self.flows.take,
            "traces": self.traces.take,
            "logs": self.requests.take,
        }
        self._forward = forward(settings, folds)
        if self._forward is not None:
            folds = {signal: _both(self._forward, signal, fold) for signal, fold in folds.items()}
        self._intake = Intake(
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
            port = await self._intake.start()
        except (RuntimeError, OSError):
            where = f"{self._settings.bind}:{self._settings.otlp_port}"
            raise InputError(
                f"{where}: cannot listen for telemetry: set MESH_OTLP_PORT or MESH_BIND"
            ) from None
        if self._forward is not None:
            await self._forward.start()
        return port

    async def stop(self) -> None:
        """Close the port, and send on what came."""
        await self._intake.stop(FOLDING_ENDS if self._forward else 0.0)
        if self._forward is not None:
            await self._forward.stop(FORWARDING_ENDS)

    def problems(self) -> tuple[str, ...]:
        """What is wrong with it, in words."""
        found = self._forward.problem(time.monotonic()) if self._forward else ""
        return (found,) if found else ()

    def renew(self, credentials: Credentials) -> None:
        """Use another certificate from now on."""
        self._intake.renew(credentials)

    def setting(
        self,
        world: World,
        resolver: Resolver | None,
        breakers: tuple[Breaker, ...],
        proxies: Iterable[ProxyStatus],
    ) -> Setting:
        """What a picture needs besides traffic; `resolver` is that of the configuration in force."""
        known = world.services.values() if resolver else ()
        states = [(one.service, one.state) for one in proxies]
        return Setting(
            world,
            breakers,
            plaintext={one.name for one in known if resolver and resolver.node(one).mode == "Disabled"},
            connected={name for name, state in states if state != "disconnected"},
            known={name for name, _ in states},
            answered=self.flows.answered(time.monotonic()),
        )

    def topology(self, setting: Setting) -> Topology:
        """Who calls whom at this moment."""
        return topology.picture(self._edges(setting.world), setting)

    def services(self, setting: Setting) -> Services:
        """All calls to each service, now and over the last quarter of an hour."""
        now, edges = time.monotonic(), self._edges(setting.world)
        found = tuple(nodes(edges, setting))
        points = {one.name: self._trends.of(one.name, self.flows.courses, setting, now) for one in found}
        return services.table(edges, setting, found, points)

    def history(self, world: World, caller: str, callee: str) -> History | None:
        """The last quarter of an hour of an edge; None when nothing is known of it."""
        return history.of_edge(self.flows.courses, world, caller, callee, time.monotonic())

    def service_history(self, world: World, name: str) -> ServiceHistory | None:
        """The last quarter of an hour of a service or gateway; None for one that is not known."""
        found = history.of_service(self.flows.courses, world, name, time.monotonic())
        return found if found.points or name in world.services or name in world.gateways else None

    def _edges(self, world: World) -> Edges:
        now = time.monotonic()
        return gather(self.flows.seen(now), world.services, now, self.flows.fades)


def _both(on: Forward, signal: Signal, fold: Take) -> Take:
    """A fold that passes on what it takes."""

    def take(identity: Identity, body: bytes, now: float) -> Iterator[None]:
        yield from on.take(signal, identity, body)
        yield from fold(identity, body, now)

    return take
