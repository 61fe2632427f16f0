"""From what sidecars told to the picture: services as nodes, calls between them as edges. Pure.

Only what the mesh knows is drawn: a callee is a service of the world, a caller is who its certificate says.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from control_plane.api.seen import Edge, Node, NodeHealth, Role, Topology
from control_plane.api.types import Breaker, Protocol
from control_plane.core.view import default_port
from control_plane.core.world import Service, World
from control_plane.telemetry.counts import Counts
from control_plane.telemetry.flows import FADES, LATE, WINDOW, Seen

FAILING = 0.5
"""Success share of all calls to a service below which it is unhealthy."""

SUFFERING = 0.95
"""Success share of all calls to a service below which it is degraded."""

ENOUGH = 10
"""Calls within the window from which on their success says something about health."""

_CLUSTER = re.compile(r"(?P<service>[^:/]+)(?::(?P<port>[^/]+))?(?:/.+)?")
# `orders`, `orders:grpc`, `orders/v2`.


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


@dataclass(slots=True)
class _Sum:
    """All flows of one edge: requests and TCP connections apart, each as counts and rates."""

    requests: Counts = field(default_factory=Counts)
    streams: Counts = field(default_factory=Counts)
    rates: dict[Protocol, float] = field(default_factory=dict)
    retries: float = 0.0
    ejected: int = 0
    connected: float = float("-inf")
    secured: float = float("-inf")


def callee(cluster: str, services: Mapping[str, Service]) -> tuple[str, Protocol] | None:
    """The service behind a cluster and what it speaks there; None when the mesh has no such service."""
    found = _CLUSTER.fullmatch(cluster)
    service = services.get(found["service"]) if found else None
    if found is None or service is None:
        return None
    if found["port"]:
        port = next((one for one in service.ports if one.name == found["port"]), None)
    else:
        port = default_port(service.ports)
    return (service.name, port.protocol) if port else None


def picture(flows: Iterable[Seen], setting: Setting, now: float) -> Topology:
    """The mesh as it is at `now`, by the clock that the flows were noted by."""
    sums: dict[tuple[str, str], _Sum] = {}
    callers: dict[str, Role] = {}
    for one in flows:
        about = callee(one.cluster, setting.world.services)
        if about is None:
            continue
        last = one.flow.connected if about[1] == "tcp" else one.flow.requested
        if now - last < FADES:
            caller = one.caller
            callers[caller.name] = "gateway" if caller.role == "gateway" else "service"
            _add(sums.setdefault((caller.name, about[0]), _Sum()), one, about[1])
    breakers = {(one.from_, one.to): one for one in setting.breakers}
    edges = [_edge(key, total, breakers.get(key), setting) for key, total in sorted(sums.items())]
    return Topology(window=WINDOW, nodes=tuple(_nodes(callers, sums, setting)), edges=tuple(edges))


def _add(total: _Sum, seen: Seen, protocol: Protocol) -> None:
    counts, seconds = seen.counts, seen.seconds
    happened = counts.connections if protocol == "tcp" else counts.answered
    (total.streams if protocol == "tcp" else total.requests).add(counts)
    rate = happened / seconds if seconds > 0 else 0.0
    total.rates[protocol] = total.rates.get(protocol, 0.0) + rate
    total.retries += counts.retries / seconds if seconds > 0 else 0.0
    total.ejected = max(total.ejected, seen.flow.ejected)
    total.connected = max(total.connected, seen.flow.connected)
    total.secured = max(total.secured, seen.flow.secured)


def _edge(key: tuple[str, str], total: _Sum, breaker: Breaker | None, setting: Setting) -> Edge:
    happened, failed = _outcome(total)
    return Edge(
        from_=key[0],
        to=key[1],
        protocol=max(total.rates, key=lambda one: total.rates[one]),
        rps=round(sum(total.rates.values()), 3),
        success=round(1 - failed / happened, 6) if happened > 0 else 1.0,
        p50_ms=round(total.requests.quantile(0.5), 3),
        p95_ms=round(total.requests.quantile(0.95), 3),
        p99_ms=round(total.requests.quantile(0.99), 3),
        retries_per_s=round(total.retries, 3),
        breaker=breaker.state if breaker else "closed",
        ejected=breaker.ejected if breaker else total.ejected,
        mtls=_is_mutual(total, key[1] not in setting.plaintext),
    )


def _outcome(total: _Sum) -> tuple[float, float]:
    """How much happened, and how much of it failed."""
    requests, streams = total.requests, total.streams
    happened = requests.answered + streams.connections
    return happened, min(requests.failed + streams.connect_failures, happened)


def _is_mutual(total: _Sum, configured: bool) -> bool:
    """Connections tell by their handshakes; where none is known of, the configuration does.

    A handshake may be told in the flush after its connection.
    """
    if total.connected == total.secured == float("-inf"):
        return configured
    return total.secured >= total.connected - LATE


def _nodes(
    callers: Mapping[str, Role], sums: Mapping[tuple[str, str], _Sum], setting: Setting
) -> Iterable[Node]:
    services = setting.world.services
    calls: dict[str, list[tuple[float, float]]] = {}
    for (_, to), total in sums.items():
        calls.setdefault(to, []).append(_outcome(total))
    open_to = {one.to for one in setting.breakers if one.state == "open"}
    others: dict[str, Role] = {**dict.fromkeys(setting.world.gateways, "gateway"), **callers}
    for name in sorted({*others, *services}):
        service = services.get(name)
        if service is None:
            yield Node(name=name, role=others[name], health=_by_proxies(name, setting))
            continue
        healthy = sum(one.health == "healthy" for one in service.instances)
        health = _worst(_by_instances(service, healthy), _by_calls(calls.get(name, ())))
        if name in open_to:
            health = _worst(health, "degraded")
        yield Node(name=name, health=health, instances=len(service.instances), healthy=healthy)


def _by_proxies(name: str, setting: Setting) -> NodeHealth:
    if name in setting.connected:
        return "healthy"
    return "unhealthy" if name in setting.known else "unknown"


def _by_instances(service: Service, healthy: int) -> NodeHealth:
    if not healthy:
        return "unhealthy"
    return "healthy" if healthy == len(service.instances) else "degraded"


def _by_calls(outcomes: Iterable[tuple[float, float]]) -> NodeHealth:
    """How its callers fare; too few calls say nothing."""
    happened = failed = 0.0
    for one, bad in outcomes:
        happened, failed = happened + one, failed + bad
    if happened < ENOUGH:
        return "healthy"
    success = 1 - failed / happened
    if success < FAILING:
        return "unhealthy"
    return "degraded" if success < SUFFERING else "healthy"


def _worst(one: NodeHealth, other: NodeHealth) -> NodeHealth:
    order: tuple[NodeHealth, ...] = ("unknown", "healthy", "degraded", "unhealthy")
    return max(one, other, key=order.index)
