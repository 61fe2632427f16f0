"""A snapshot: every Envoy resource of the mesh at one revision, and what one node may see of it.

What is the same for all callers is kept once; a caller for whom a policy says something else has a variant.
Listeners differ by node (where it binds), so they are made when a node asks, and kept by their view.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from control_plane.api.spiffe import Identity
from control_plane.core import gateway, inbound, outbound
from control_plane.core.resource import CDS, EDS, LDS, RDS, VHDS, Resource
from control_plane.core.view import GatewayView, NodeView

Table = Mapping[tuple[str, str], Resource]
"""Resources by (type URL, name)."""

Changed = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Bindings:
    """Where one node binds its listeners; from its own metadata, since only itself is concerned."""

    address: str = "127.0.0.1"
    outbound: int = 0
    inbound: int = 0
    gateway: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All resources at `revision`. `aliases` gives a virtual host's name for each host callers may use."""

    revision: int
    trust_domain: str = "mesh.local"
    shared: Table = field(default_factory=dict)
    variants: Mapping[str, Table] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    nodes: Mapping[str, NodeView] = field(default_factory=dict)
    gateways: Mapping[str, GatewayView] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def node(self, identity: Identity, bindings: Bindings) -> NodeSnapshot:
        """What the proxies of `identity` may see."""
        return NodeSnapshot(self, identity, bindings)

    def changed_from(self, before: Snapshot) -> Changed:
        """(type URL, name) of all that is new, gone or different since `before`, for any node."""
        found = _differing(before.shared, self.shared)
        for caller in {*before.variants, *self.variants}:
            found |= _differing(before.variants.get(caller, {}), self.variants.get(caller, {}))
        for name in {*before.nodes, *self.nodes}:
            if before.nodes.get(name) != self.nodes.get(name):
                found.add((LDS, inbound.LISTENER))
                for view in (before.nodes.get(name), self.nodes.get(name)):
                    found.update((RDS, one.name) for one in (inbound.routes(view) if view else ()))
        for name in {*before.gateways, *self.gateways}:
            if before.gateways.get(name) != self.gateways.get(name):
                for gateway_view in (before.gateways.get(name), self.gateways.get(name)):
                    for listener in gateway_view.listeners if gateway_view else ():
                        called = gateway.listener_name(name, listener.name)
                        found |= {(LDS, called), (RDS, called)}
        return frozenset(found)

    def unresolved(self) -> tuple[str, ...]:
        """References that lead nowhere, in words; empty when the snapshot is consistent."""
        tables = [self.shared, *self.variants.values()]
        known = {name for kind, name in self.shared if kind == CDS}
        missing = [
            f"{one.name} names cluster {cluster}, which does not exist"
            for table in tables
            for one in table.values()
            for cluster in one.needs
            if cluster not in known
        ]
        missing += [
            f"cluster {name} has no endpoints"
            for name in known
            if (EDS, name) not in self.shared and name != outbound.BLACKHOLE
        ]
        return tuple(missing)


def _differing(before: Table, now: Table) -> set[tuple[str, str]]:
    found = {key for key in before if key not in now}
    for key, resource in now.items():
        old = before.get(key)
        if old is not resource and (old is None or old.version != resource.version):
            found.add(key)
    return found


class NodeSnapshot:
    """One node's part of a snapshot: nothing else can be asked for."""

    def __init__(self, snapshot: Snapshot, identity: Identity, bindings: Bindings) -> None:
        self.revision = snapshot.revision
        self._snapshot = snapshot
        self._own = snapshot.variants.get(identity.name, {})
        self._is_gateway = identity.role == "gateway"
        self._base: dict[str, dict[str, Resource]] = {CDS: {outbound.BLACKHOLE: outbound.blackhole()}}
        listeners, routes = _node_resources(snapshot, identity, bindings)
        self._base[LDS] = {one.name: one for one in listeners}
        self._routes = {one.name: one for one in routes}

    def get(self, type_url: str, name: str) -> Resource | None:
        """A resource by its name, a virtual host also by an alias; None for what this node may not see."""
        if type_url in (LDS, RDS):
            return self._base[LDS].get(name) if type_url == LDS else self._routes.get(name)
        if type_url == VHDS:
            if self._is_gateway:
                return None
            name = self._snapshot.aliases.get(name, name)
        elif type_url == CDS and name in self._base[CDS]:
            return self._base[CDS][name]
        return self._own.get((type_url, name)) or self._snapshot.shared.get((type_url, name))

    def base(self, type_url: str) -> Mapping[str, Resource]:
        """What a wildcard subscription always gets."""
        return self._base.get(type_url, {})


def _node_resources(
    snapshot: Snapshot, identity: Identity, bindings: Bindings
) -> tuple[Iterable[Resource], Iterable[Resource]]:
    """Listeners and route configurations of one node."""
    if identity.role == "gateway":
        view = snapshot.gateways.get(identity.name)
        if view is None:
            return (), ()
        return _gateway_listeners(view, bindings.address, bindings.gateway), _gateway_routes(view)
    listeners = [outbound.listener("127.0.0.1", bindings.outbound)] if bindings.outbound else []
    routes = [outbound.route_configuration()]
    node = snapshot.nodes.get(identity.name)
    if node is not None:
        if bindings.inbound:
            listeners.append(_inbound_listener(node, bindings.address, bindings.inbound))
        routes += _inbound_routes(node)
    return listeners, routes


@lru_cache(maxsize=4096)
def _inbound_listener(view: NodeView, address: str, port: int) -> Resource:
    return inbound.listener(view, address, port)


@lru_cache(maxsize=4096)
def _inbound_routes(view: NodeView) -> tuple[Resource, ...]:
    return inbound.routes(view)


@lru_cache(maxsize=64)
def _gateway_listeners(
    view: GatewayView, address: str, ports: tuple[tuple[str, int], ...]
) -> tuple[Resource, ...]:
    return gateway.listeners(view, address, dict(ports))


@lru_cache(maxsize=64)
def _gateway_routes(view: GatewayView) -> tuple[Resource, ...]:
    return gateway.route_configurations(view)
