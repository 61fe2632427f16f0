"""The health of services, gateways, edges and versions, and its thresholds.

Everything that shows health (API, command line, dashboard, Grafana) takes the verdict or the thresholds from
here, so that the same success rate is never healthy in one place and degraded in another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from meshwright.control_plane.api.cluster_names import is_external_node
from meshwright.control_plane.api.models.topology import (
    Breaker,
    HealthThresholds,
    NodeHealth,
    NodeRole,
    TopologyNode,
)
from meshwright.control_plane.core.world import Service, World
from meshwright.control_plane.telemetry.topology.claims import credible_callers
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

_FAIL, _REFUSED = " fail", " are refused (4xx by the mesh)"

OPEN_BREAKER = "a circuit breaker towards it is open"

_SEVERITY: tuple[NodeHealth, ...] = ("healthy", "unknown", "idle", "degraded", "unhealthy")


@dataclass(frozen=True, slots=True)
class MeshContext:
    """What the topology needs besides traffic.

    `plaintext_services` are configured to be called without TLS. `connected` are services and gateways with a
    proxy connected to a control plane, `recently_seen` those with one now or within the last minute.
    `inbound_results` are the responses of each service's inbound proxies within the window.
    `gateways` have a proxy connected now or within the last minute. `evicted_gateways`: how the last proxy of
    a gateway was taken out. `ready_since`: see FirstReadiness.
    """

    world: World
    breakers: tuple[Breaker, ...] = ()
    plaintext_services: Collection[str] = ()
    connected: Collection[str] = ()
    recently_seen: Collection[str] = ()
    inbound_results: Mapping[str, CallResults] = field(default_factory=dict)
    evicted_gateways: Mapping[str, str] = field(default_factory=dict)
    gateways: Collection[str] = ()
    ready_since: Mapping[str, float] | None = None


class NodeVerdict(NamedTuple):
    """A health and its reason, which is empty for the summary."""

    health: NodeHealth
    reason: str = ""


HEALTHY = NodeVerdict("healthy")


def assess_nodes(edges: EdgeTable, context: MeshContext) -> Iterator[TopologyNode]:
    """Every service, gateway and called host outside with its health, sorted by name."""
    services = context.world.services
    received: dict[str, dict[str, EdgeTraffic]] = {}
    sent: dict[str, list[CallResults]] = {}
    for (caller, destination), traffic in edges.edges.items():
        received.setdefault(destination, {})[caller] = traffic
        sent.setdefault(caller, []).append(traffic.judged)
    for caller, traffic in edges.unrouted.items():
        sent.setdefault(caller, []).append(traffic.results)
    gateways = (*context.world.gateways, *context.gateways, *context.evicted_gateways)
    roles: dict[str, NodeRole] = {**dict.fromkeys(gateways, "gateway"), **edges.callers}
    for name in filter(is_external_node, received):
        roles.setdefault(name, "external")
    for name in sorted({*roles, *services}):
        service = services.get(name)
        if service is not None:
            yield _service_node(service, received.get(name, {}), context)
        elif roles[name] == "gateway":
            verdict = _worst_verdict(_gateway_by_proxies(name, context), _by_calls(sent.get(name, ())))
            yield TopologyNode(name=name, role="gateway", health=verdict.health, reason=verdict.reason)
        elif roles[name] == "external":
            verdict = _by_calls(traffic.results for traffic in received[name].values())
            yield TopologyNode(name=name, role="external", health=verdict.health, reason=verdict.reason)
        else:  # a caller that is not registered, or no longer
            health: NodeHealth = "healthy" if name in context.connected else "idle"
            yield TopologyNode(name=name, health=health)


def _service_node(service: Service, calls: Mapping[str, EdgeTraffic], context: MeshContext) -> TopologyNode:
    inbound = context.inbound_results.get(service.name)
    credible = credible_callers({caller: traffic.results for caller, traffic in calls.items()}, inbound)
    is_open = any(breaker.to == service.name and breaker.state == "open" for breaker in context.breakers)
    verdict = _worst_verdict(
        _by_instances(service),
        _by_calls(traffic.judged for caller, traffic in calls.items() if caller in credible),
        _by_calls((inbound,) if inbound else (), "sidecars' responses"),
        NodeVerdict("degraded", OPEN_BREAKER) if is_open else HEALTHY,
    )
    return TopologyNode(
        name=service.name,
        health=verdict.health,
        reason=verdict.reason,
        instances=len(service.instances),
        healthy=sum(instance.health == "healthy" for instance in service.instances),
        since=service.departure.time if service.departure else 0.0,
    )


def edge_health(traffic: EdgeTraffic, breaker: Breaker | None = None) -> NodeHealth:
    """The health of an edge, or of the part of it that goes to one version."""
    is_open = breaker is not None and breaker.state == "open"
    return worst(health_of_calls((traffic.results,)), "degraded" if is_open else "healthy")


def health_of_calls(results: Iterable[CallResults]) -> NodeHealth:
    """The verdict on the success rate of these calls together; healthy below MIN_CALLS."""
    return _by_calls(results).health


def worst(*verdicts: NodeHealth) -> NodeHealth:
    """The worst of several verdicts."""
    return max(verdicts, key=_SEVERITY.index)


def _worst_verdict(*verdicts: NodeVerdict) -> NodeVerdict:
    """The worst of several verdicts, the first one of equals."""
    return max(verdicts, key=lambda verdict: _SEVERITY.index(verdict.health))


def _by_calls(results: Iterable[CallResults], what: str = "requests") -> NodeVerdict:
    total = failed = refused = 0.0
    for result in results:
        total, failed, refused = total + result.total, failed + result.failed, refused + result.refused
    if total < MIN_CALLS:
        return HEALTHY
    success = 1 - failed / total
    if success < DEGRADED_BELOW:
        health: NodeHealth = "unhealthy" if success < UNHEALTHY_BELOW else "degraded"
        return NodeVerdict(health, f"{format_share(failed / total)} of its {what}{_FAIL}")
    if refused / total > 1 - UNHEALTHY_BELOW:
        return NodeVerdict("degraded", f"{format_share(refused / total)} of its {what}{_REFUSED}")
    return HEALTHY


def is_about_calls(reason: str) -> bool:
    """Whether a node's reason is about the requests to it, or from it."""
    return reason.endswith((_FAIL, _REFUSED))


def format_share(share: float) -> str:
    """A share (0..1) in per cent; only 1 is 100 %, and only 0 is 0 %."""
    if share in (0, 1):
        return f"{share * 100:.0f} %"
    return f"{min(max(round(share * 100), 1), 99)} %"


def _gateway_by_proxies(name: str, context: MeshContext) -> NodeVerdict:
    if name in context.connected:
        return HEALTHY
    if name in context.evicted_gateways:
        return NodeVerdict("unhealthy", f"its proxy was {context.evicted_gateways[name]}")
    if name in context.recently_seen:
        return NodeVerdict("unhealthy", "none of its proxies is connected")
    return NodeVerdict("unknown")


def _by_instances(service: Service) -> NodeVerdict:
    """Absence is not failure: only what crashed or lost its lease is unhealthy, and no caller without ports.

    An instance that drains leaves as planned.
    """
    if not service.instances:
        departure = service.departure
        if service.is_idle or departure is None:
            return NodeVerdict("idle")
        return NodeVerdict("unhealthy", f"{departure.instance}: {departure.failure}")
    staying = [instance for instance in service.instances if instance.health != "draining"]
    unhealthy = [instance for instance in staying if instance.health != "healthy"]
    if not staying:
        return NodeVerdict("degraded", "all of its instances are draining")
    if not unhealthy:
        return HEALTHY
    worst = next((item for item in unhealthy if item.reason), unhealthy[0])
    why = f"{worst.name}: {worst.reason}" if worst.reason else worst.name
    reason = f"{len(unhealthy)} of {len(staying)} instances unhealthy ({why})"
    if len(unhealthy) < len(staying) or not service.ports:
        return NodeVerdict("degraded", reason)
    return NodeVerdict("unhealthy", reason)
