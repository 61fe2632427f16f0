"""The health of services, gateways, edges and versions, and its thresholds.

Everything that shows health (API, command line, dashboard, Grafana) takes the verdict or the thresholds from
here, so that the same success rate is never healthy in one place and degraded in another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from meshwright.control_plane.api.models.topology import (
    Breaker,
    HealthThresholds,
    NodeHealth,
    NodeRole,
    TopologyNode,
)
from meshwright.control_plane.core.world import Service, World
from meshwright.control_plane.telemetry.topology.edges import EdgeTable, EdgeTraffic
from meshwright.control_plane.telemetry.topology.traffic import CallResults

THRESHOLDS = HealthThresholds()
"""The thresholds as the API serves them. Their values are the defaults of its model, which clients share."""

UNHEALTHY_BELOW = THRESHOLDS.unhealthy_below
"""Success rate below which a service, edge or version is unhealthy."""

DEGRADED_BELOW = THRESHOLDS.degraded_below
"""Success rate below which a service, edge or version is degraded."""

MIN_CALLS = THRESHOLDS.min_requests
"""Calls within the window from which on their success rate counts."""

_SEVERITY: tuple[NodeHealth, ...] = ("unknown", "healthy", "degraded", "unhealthy")


@dataclass(frozen=True, slots=True)
class MeshContext:
    """What the topology needs besides traffic.

    `plaintext_services` are configured to be called without TLS. `connected` are services and gateways with a
    proxy connected to a control plane, `recently_seen` those with one now or within the last minute.
    `inbound_results` are the responses of each service's inbound proxies within the window.
    """

    world: World
    breakers: tuple[Breaker, ...] = ()
    plaintext_services: Collection[str] = ()
    connected: Collection[str] = ()
    recently_seen: Collection[str] = ()
    inbound_results: Mapping[str, CallResults] = field(default_factory=dict)


def assess_nodes(edges: EdgeTable, context: MeshContext) -> Iterator[TopologyNode]:
    """Every service and gateway with its health, sorted by name."""
    services = context.world.services
    calls: dict[str, list[CallResults]] = {}
    for (_, destination), traffic in edges.edges.items():
        calls.setdefault(destination, []).append(traffic.results)
    open_breakers = {breaker.to for breaker in context.breakers if breaker.state == "open"}
    roles: dict[str, NodeRole] = {**dict.fromkeys(context.world.gateways, "gateway"), **edges.callers}
    for name in sorted({*roles, *services}):
        service = services.get(name)
        if service is None:
            yield TopologyNode(name=name, role=roles[name], health=_health_by_proxies(name, context))
            continue
        healthy = sum(instance.health == "healthy" for instance in service.instances)
        inbound = context.inbound_results.get(name)
        health = worst(
            _health_by_instances(service, healthy),
            health_of_calls(calls.get(name, ())),
            health_of_calls((inbound,) if inbound else ()),
            "degraded" if name in open_breakers else "healthy",
        )
        yield TopologyNode(name=name, health=health, instances=len(service.instances), healthy=healthy)


def edge_health(traffic: EdgeTraffic, breaker: Breaker | None = None) -> NodeHealth:
    """The health of an edge, or of the part of it that goes to one version."""
    is_open = breaker is not None and breaker.state == "open"
    return worst(health_of_calls((traffic.results,)), "degraded" if is_open else "healthy")


def health_of_calls(results: Iterable[CallResults]) -> NodeHealth:
    """The verdict on the success rate of these calls together; healthy below MIN_CALLS."""
    total = failed = 0.0
    for result in results:
        total, failed = total + result.total, failed + result.failed
    if total < MIN_CALLS:
        return "healthy"
    success = 1 - failed / total
    if success < UNHEALTHY_BELOW:
        return "unhealthy"
    return "degraded" if success < DEGRADED_BELOW else "healthy"


def worst(*verdicts: NodeHealth) -> NodeHealth:
    """The worst of several verdicts."""
    return max(verdicts, key=_SEVERITY.index)


def _health_by_proxies(name: str, context: MeshContext) -> NodeHealth:
    if name in context.connected:
        return "healthy"
    return "unhealthy" if name in context.recently_seen else "unknown"


def _health_by_instances(service: Service, healthy: int) -> NodeHealth:
    if not healthy:
        return "unhealthy"
    return "healthy" if healthy == len(service.instances) else "degraded"
