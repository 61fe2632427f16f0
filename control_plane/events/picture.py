"""What is compared to see that something happened: the mesh as one control plane sees it at one moment. Pure.

It is taken every second, so it holds no more than what may become an event and is made without walking what
is well: of a thousand sidecars that report nothing unusual only that remains.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from control_plane.api.types import Breaker, ClusterReport, Health, ProxyReport
from control_plane.core.breakers import breakers
from control_plane.core.translate import Translation
from control_plane.core.world import World

Proxy = tuple[str, str]
"""Service and name of a proxy."""

Edge = tuple[str, str]
"""Caller and callee."""


@dataclass(frozen=True, slots=True)
class Picture:
    """`proxies`: what Envoy says of what it refuses, by connected proxy; empty when it takes everything.

    `breakers`: those that are not closed. `ejected`: hosts that callers' sidecars have taken out, by name.
    `instances`: service and health by name.
    """

    proxies: Mapping[Proxy, str] = field(default_factory=dict)
    breakers: Mapping[Edge, Breaker] = field(default_factory=dict)
    ejected: Mapping[Edge, frozenset[str]] = field(default_factory=dict)
    instances: Mapping[str, tuple[str, Health]] = field(default_factory=dict)


def take(
    proxies: Mapping[Proxy, str], translation: Translation | None, troubled: Collection[ProxyReport]
) -> Picture:
    """The picture of what is served, who is connected and what sidecars report.

    `troubled` are reports with nothing but the clusters that are not as they should be.
    """
    if translation is None:
        return Picture(proxies)
    world = translation.world
    found = breakers(translation.resolver.attachments, world.services, troubled) if troubled else ()
    return Picture(
        proxies,
        {(one.from_, one.to): one for one in found if one.state != "closed"},
        _ejected(world, troubled),
        instances(world),
    )


def instances(world: World) -> dict[str, tuple[str, Health]]:
    """Service and health of every instance with a lease, by name."""
    return {
        one.name: (service.name, one.health)
        for service in world.services.values()
        for one in service.instances
    }


def _ejected(world: World, reports: Iterable[ProxyReport]) -> dict[Edge, frozenset[str]]:
    pairs = [
        (report.service, cluster) for report in reports for cluster in report.clusters if cluster.addresses
    ]
    if not pairs:
        return {}
    names = {
        f"{one.address}:{one.port}": (service.name, one.name)
        for service in world.services.values()
        for one in service.instances
    }
    found: dict[Edge, set[str]] = {}
    for caller, cluster in pairs:
        for to, host in _hosts(cluster, names):
            found.setdefault((caller, to), set()).add(host)
    return {edge: frozenset(hosts) for edge, hosts in found.items()}


def _hosts(cluster: ClusterReport, names: Mapping[str, tuple[str, str]]) -> Iterable[tuple[str, str]]:
    """Service and name of each host that is taken out; its address where nobody has it any more."""
    return (names.get(address, (cluster.cluster, address)) for address in cluster.addresses)
