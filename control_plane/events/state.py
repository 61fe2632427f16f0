"""The state that events are detected from, as one control plane sees it. Pure.

It is captured every second, so it holds no more than what can become an event, and takes no time for what is
healthy: of a thousand sidecars without ejections only the names remain.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from meshwright.control_plane.api.cluster_names import displayed
from meshwright.control_plane.api.models.proxies import CertificateReport, ProxyReport
from meshwright.control_plane.api.models.topology import Breaker
from meshwright.control_plane.core.translate import Translation
from meshwright.control_plane.core.world import Instance, World
from meshwright.control_plane.status.circuit_breakers import edge_breakers

ProxyKey = tuple[str, str]
"""Service and name of a proxy or instance."""

EdgeKey = tuple[str, str]
"""Caller and callee."""

CertificateKey = tuple[str, str, str]
"""Gateway, its proxy, and the Certificate."""


@dataclass(frozen=True, slots=True)
class MeshState:
    """`rejections`: Envoy's error of each connected proxy, "" if it rejects nothing.

    `breakers`: those that are not closed. `ejected`: names of the hosts that the callers' sidecars ejected.
    `instances`: their condition. `certificates`: those of gateways that are not in order, by proxy and name.
    """

    rejections: Mapping[ProxyKey, str] = field(default_factory=dict)
    breakers: Mapping[EdgeKey, Breaker] = field(default_factory=dict)
    ejected: Mapping[EdgeKey, frozenset[str]] = field(default_factory=dict)
    instances: Mapping[ProxyKey, Instance] = field(default_factory=dict)
    certificates: Mapping[CertificateKey, CertificateReport] = field(default_factory=dict)


def capture(
    rejections: Mapping[ProxyKey, str], served: Translation | None, unhealthy: Collection[ProxyReport]
) -> MeshState:
    """The current state. `unhealthy`: reports with only what is not in order."""
    if served is None:
        return MeshState(rejections)
    world = served.world
    breakers = edge_breakers(served.resolver.attachments, world.services, unhealthy) if unhealthy else ()
    return MeshState(
        rejections,
        {(breaker.from_, breaker.to): breaker for breaker in breakers if breaker.state != "closed"},
        _ejected(world, unhealthy),
        instances(world),
        {
            (report.service, report.node, certificate.name): certificate
            for report in unhealthy
            for certificate in report.certificates
        },
    )


def instances(world: World) -> dict[ProxyKey, Instance]:
    """Every instance with a lease."""
    return {
        (service.name, instance.name): instance
        for service in world.services.values()
        for instance in service.instances
    }


def _ejected(world: World, reports: Iterable[ProxyReport]) -> dict[EdgeKey, frozenset[str]]:
    clusters = [
        (report.service, cluster)
        for report in reports
        for cluster in report.clusters
        if cluster.ejected_addresses
    ]
    if not clusters:
        return {}
    by_address = {
        f"{instance.address}:{instance.port}": (service.name, instance.name)
        for service in world.services.values()
        for instance in service.instances
    }
    ejected: dict[EdgeKey, set[str]] = {}
    for caller, cluster in clusters:
        for address in cluster.ejected_addresses:
            # An address without an instance is reported as it is.
            callee, host = by_address.get(address, (displayed(cluster.cluster), address))
            ejected.setdefault((caller, callee), set()).add(host)
    return {edge: frozenset(hosts) for edge, hosts in ejected.items()}
