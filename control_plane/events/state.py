"""What is compared to see that something happened: the mesh as one control plane sees it at one moment. Pure.

It is taken every second, so it holds no more than what may become an event and is made without walking what
is well: of a thousand sidecars that report nothing unusual only that remains.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from meshwright.control_plane.api.models.base import Breaker, ClusterReport, InstanceHealth, ProxyReport
from meshwright.control_plane.core.translate import Translation
from meshwright.control_plane.core.world import World
from meshwright.control_plane.status.circuit_breakers import edge_breakers

ProxyKey = tuple[str, str]
"""Service and name of a proxy."""

EdgeKey = tuple[str, str]
"""Caller and callee."""


@dataclass(frozen=True, slots=True)
class MeshState:
    """`proxies`: what Envoy says of what it refuses, by connected proxy; empty when it takes everything.

    `breakers`: those that are not closed. `ejected`: hosts that callers' sidecars have taken out, by name.
    `instances`: service and health by name.
    """

    rejections: Mapping[ProxyKey, str] = field(default_factory=dict)
    breakers: Mapping[EdgeKey, Breaker] = field(default_factory=dict)
    ejected: Mapping[EdgeKey, frozenset[str]] = field(default_factory=dict)
    instances: Mapping[str, tuple[str, InstanceHealth]] = field(default_factory=dict)


def capture(
    proxies: Mapping[ProxyKey, str], translation: Translation | None, troubled: Collection[ProxyReport]
) -> MeshState:
    """The picture of what is served, who is connected and what sidecars report.

    `troubled` are reports with nothing but the clusters that are not as they should be.
    """
    if translation is None:
        return MeshState(proxies)
    world = translation.world
    found = edge_breakers(translation.resolver.attachments, world.services, troubled) if troubled else ()
    return MeshState(
        proxies,
        {(one.from_, one.to): one for one in found if one.state != "closed"},
        _ejected(world, troubled),
        instance_health(world),
    )


def instance_health(world: World) -> dict[str, tuple[str, InstanceHealth]]:
    """Service and health of every instance with a lease, by name."""
    return {
        one.name: (service.name, one.health)
        for service in world.services.values()
        for one in service.instances
    }


def _ejected(world: World, reports: Iterable[ProxyReport]) -> dict[EdgeKey, frozenset[str]]:
    pairs = [
        (report.service, cluster)
        for report in reports
        for cluster in report.clusters
        if cluster.ejected_addresses
    ]
    if not pairs:
        return {}
    names = {
        f"{one.address}:{one.port}": (service.name, one.name)
        for service in world.services.values()
        for one in service.instances
    }
    found: dict[EdgeKey, set[str]] = {}
    for caller, cluster in pairs:
        for to, host in _hosts(cluster, names):
            found.setdefault((caller, to), set()).add(host)
    return {edge: frozenset(hosts) for edge, hosts in found.items()}


def _hosts(cluster: ClusterReport, names: Mapping[str, tuple[str, str]]) -> Iterable[tuple[str, str]]:
    """Service and name of each host that is taken out; its address where nobody has it any more."""
    return (names.get(address, (cluster.cluster, address)) for address in cluster.ejected_addresses)
