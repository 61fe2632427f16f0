"""Whether services and gateways do well, judged by their instances, their callers and themselves. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from meshwright.control_plane.api.models.base import Breaker
from meshwright.control_plane.api.models.topology import NodeHealth, NodeRole, TopologyNode
from meshwright.control_plane.core.world import Service, World
from meshwright.control_plane.telemetry.topology.edges import EdgeTable

CallResults = tuple[float, float]
"""How much happened, and how much of it failed."""

UNHEALTHY_BELOW = 0.5
"""Success share of all calls to a service below which it is unhealthy."""

DEGRADED_BELOW = 0.95
"""Success share of all calls to a service below which it is degraded."""

MIN_CALLS = 10
"""Calls within the window from which on their success says something about health."""


@dataclass(frozen=True, slots=True)
class MeshContext:
    """What the picture needs besides the traffic.

    `plaintext`: services that are configured to be called without TLS. `connected`: services and gateways
    with a proxy that follows its configuration; `known`: those that have or had one within a minute.
    """

    world: World
    breakers: tuple[Breaker, ...] = ()
    plaintext_services: Collection[str] = ()
    connected: Collection[str] = ()
    recently_seen: Collection[str] = ()
    inbound_results: Mapping[str, CallResults] = field(default_factory=dict)
    """What the inbound proxies of services answered within the window."""


def assess_nodes(edges: EdgeTable, setting: MeshContext) -> Iterable[TopologyNode]:
    """Every service and gateway by name, with its health."""
    services = setting.world.services
    calls: dict[str, list[CallResults]] = {}
    for (_, to), total in edges.edges.items():
        calls.setdefault(to, []).append(total.results)
    open_to = {one.to for one in setting.breakers if one.state == "open"}
    others: dict[str, NodeRole] = {**dict.fromkeys(setting.world.gateways, "gateway"), **edges.callers}
    for name in sorted({*others, *services}):
        service = services.get(name)
        if service is None:
            yield TopologyNode(name=name, role=others[name], health=_health_by_proxies(name, setting))
            continue
        healthy = sum(one.health == "healthy" for one in service.instances)
        own = setting.inbound_results.get(name)
        health = worst(
            _health_by_instances(service, healthy),
            _health_by_calls(calls.get(name, ())),
            _health_by_calls((own,) if own else ()),
            "degraded" if name in open_to else "healthy",
        )
        yield TopologyNode(name=name, health=health, instances=len(service.instances), healthy=healthy)


def _health_by_proxies(name: str, setting: MeshContext) -> NodeHealth:
    if name in setting.connected:
        return "healthy"
    return "unhealthy" if name in setting.recently_seen else "unknown"


def _health_by_instances(service: Service, healthy: int) -> NodeHealth:
    if not healthy:
        return "unhealthy"
    return "healthy" if healthy == len(service.instances) else "degraded"


def _health_by_calls(outcomes: Iterable[CallResults]) -> NodeHealth:
    """How calls went; too few of them say nothing."""
    happened = failed = 0.0
    for one, bad in outcomes:
        happened, failed = happened + one, failed + bad
    if happened < MIN_CALLS:
        return "healthy"
    success = 1 - failed / happened
    if success < UNHEALTHY_BELOW:
        return "unhealthy"
    return "degraded" if success < DEGRADED_BELOW else "healthy"


def worst(*found: NodeHealth) -> NodeHealth:
    """The worst of some verdicts."""
    order: tuple[NodeHealth, ...] = ("unknown", "healthy", "degraded", "unhealthy")
    return max(found, key=order.index)
