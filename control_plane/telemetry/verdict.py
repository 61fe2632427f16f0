"""Whether services and gateways do well, judged by their instances, their callers and themselves. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from control_plane.api.seen import Node, NodeHealth, Role
from control_plane.api.types import Breaker
from control_plane.core.world import Service, World
from control_plane.telemetry.edges import Edges

Outcome = tuple[float, float]
"""How much happened, and how much of it failed."""

FAILING = 0.5
"""Success share of all calls to a service below which it is unhealthy."""

SUFFERING = 0.95
"""Success share of all calls to a service below which it is degraded."""

ENOUGH = 10
"""Calls within the window from which on their success says something about health."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the picture needs besides the traffic.

    `plaintext`: services that are configured to be called without TLS. `connected`: services and gateways
    with a proxy that follows its configuration; `known`: those that have or had one within a minute.
    """

    world: World
    breakers: tuple[Breaker, ...] = ()
    plaintext: Collection[str] = ()
    connected: Collection[str] = ()
    known: Collection[str] = ()
    answered: Mapping[str, Outcome] = field(default_factory=dict)
    """What the inbound proxies of services answered within the window."""


def nodes(edges: Edges, setting: Setting) -> Iterable[Node]:
    """Every service and gateway by name, with its health."""
    services = setting.world.services
    calls: dict[str, list[Outcome]] = {}
    for (_, to), total in edges.sums.items():
        calls.setdefault(to, []).append(total.outcome)
    open_to = {one.to for one in setting.breakers if one.state == "open"}
    others: dict[str, Role] = {**dict.fromkeys(setting.world.gateways, "gateway"), **edges.callers}
    for name in sorted({*others, *services}):
        service = services.get(name)
        if service is None:
            yield Node(name=name, role=others[name], health=_by_proxies(name, setting))
            continue
        healthy = sum(one.health == "healthy" for one in service.instances)
        own = setting.answered.get(name)
        health = worst(
            _by_instances(service, healthy),
            _by_calls(calls.get(name, ())),
            _by_calls((own,) if own else ()),
            "degraded" if name in open_to else "healthy",
        )
        yield Node(name=name, health=health, instances=len(service.instances), healthy=healthy)


def _by_proxies(name: str, setting: Setting) -> NodeHealth:
    if name in setting.connected:
        return "healthy"
    return "unhealthy" if name in setting.known else "unknown"


def _by_instances(service: Service, healthy: int) -> NodeHealth:
    if not healthy:
        return "unhealthy"
    return "healthy" if healthy == len(service.instances) else "degraded"


def _by_calls(outcomes: Iterable[Outcome]) -> NodeHealth:
    """How calls went; too few of them say nothing."""
    happened = failed = 0.0
    for one, bad in outcomes:
        happened, failed = happened + one, failed + bad
    if happened < ENOUGH:
        return "healthy"
    success = 1 - failed / happened
    if success < FAILING:
        return "unhealthy"
    return "degraded" if success < SUFFERING else "healthy"


def worst(*found: NodeHealth) -> NodeHealth:
    """The worst of some verdicts."""
    order: tuple[NodeHealth, ...] = ("unknown", "healthy", "degraded", "unhealthy")
    return max(found, key=order.index)
