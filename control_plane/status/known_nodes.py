"""Which nodes the mesh knows: by their registrations and their xDS streams. Pure.

Reports and telemetry name nodes. What is said of a node without registration and stream is bounded.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable

from meshwright.control_plane.api.models.proxies import ProxyReport, ProxyStatus
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.core.world import World

MAX_UNKNOWN = 4
"""Reported nodes of one service or gateway without registration and stream: their Envoys do not connect."""


def bounded_reports(
    reports: Iterable[ProxyReport], world: World, proxies: Iterable[ProxyStatus]
) -> tuple[ProxyReport, ...]:
    """The reports of known nodes, and a few of others, which Prometheus does not scrape."""
    existing = {(proxy.service, proxy.name) for proxy in proxies}
    existing |= {
        (service.name, instance.name) for service in world.services.values() for instance in service.instances
    }
    unknown: Counter[str] = Counter()
    bounded = []
    for report in reports:
        if (report.service, report.node) in existing:
            bounded.append(report)
            continue
        unknown[report.service] += 1
        if unknown[report.service] <= MAX_UNKNOWN:
            bounded.append(report.model_copy(update={"metrics": "", "app_metrics": False}))
    return tuple(bounded)


class NodeOwners:
    """The services and gateways that have a node of some name, by registrations and by streams."""

    def __init__(self, world: Callable[[], World], streams: Callable[[str], Collection[str]]) -> None:
        self._world = world
        self._streams = streams
        self._indexed: World | None = None
        self._registered: dict[str, set[str]] = {}

    def __call__(self, node: str) -> Collection[str]:
        """The names of the owners of a node; empty if nobody is known to have it."""
        world = self._world()
        if world is not self._indexed:
            registered: dict[str, set[str]] = defaultdict(set)
            for service in world.services.values():
                for instance in service.instances:
                    registered[instance.name].add(service.name)
            self._indexed, self._registered = world, dict(registered)
        return self._registered.get(node, set()) | set(self._streams(node))


class NameConflicts:
    """Services and gateways share one name space, because telemetry, reports and commands call both by name.

    A name is the service's from its first registration until it is forgotten. Otherwise it is the gateway's
    while a document names it or a proxy of it is connected. The other role is refused, whatever its token.
    """

    def __init__(self, world: Callable[[], World], gateways: Callable[[], Collection[str]]) -> None:
        """`gateways`: names of those that a document names or that have an xDS stream."""
        self._world = world
        self._gateways = gateways

    def __call__(self, identity: Identity) -> str:
        """Why this identity must not be used, in one line; empty if nothing else has its name."""
        world, name = self._world(), identity.name
        if identity.role == "gateway" and name in world.services:
            return f"a service is named {name}: give the gateway another name, or `mesh forget {name}`"
        if identity.role != "service" or name in world.services:
            return ""
        if name in world.gateways or name in self._gateways():
            return f"a gateway is named {name}: give the service another name"
        return ""
