"""A snapshot: every Envoy resource of the mesh at one revision, and what one node may see of it.

What is the same for all callers is kept once; a caller for whom a policy says something else has a variant.
Listeners differ by node (where it binds), so they are made when a node asks, and kept by their view.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.core import connect_tunnel, gateway, inbound, outbound, tcp
from meshwright.control_plane.core.resource import CDS, EDS, LDS, RDS, VHDS, Resource
from meshwright.control_plane.core.views import (
    GatewayView,
    ListenerView,
    NodeView,
    TelemetryView,
    UpstreamView,
)

ResourceTable = Mapping[tuple[str, str], Resource]
"""Resources by (type URL, name)."""

NO_ROUTES = ListenerView("http", 0, ())
"""The listener of a gateway that no document speaks of: it answers 404."""

DEFAULT_TELEMETRY = TelemetryView("")
"""What nodes tell where no Telemetry says otherwise."""

LOOPBACK = "127.0.0.1"
"""Where a sidecar's outbound proxy listens, whatever the node's address."""

ChangedResources = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Bindings:
    """Where one node binds its listeners, its zone, and who takes what it tells: a collector of traces, and
    the control plane its request log (`heard`).

    These are its own words, since only itself is concerned.
    """

    address: str = "127.0.0.1"
    outbound: int = 0
    inbound: int = 0
    gateway: tuple[tuple[str, int], ...] = ()
    upstreams: tuple[tuple[str, str, int], ...] = ()
    zone: str = ""
    tracing: bool = False
    request_log: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All resources at `revision`. `aliases` gives a virtual host's name for each host callers may use;
    `told` is what a node tells whose service has not registered.

    `placed` are endpoints that differ by (caller, zone), either of them empty for all.
    """

    revision: int
    trust_domain: str = "mesh.local"
    shared: ResourceTable = field(default_factory=dict)
    variants: Mapping[str, ResourceTable] = field(default_factory=dict)
    endpoint_overrides: Mapping[tuple[str, str], ResourceTable] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    nodes: Mapping[str, NodeView] = field(default_factory=dict)
    gateways: Mapping[str, GatewayView] = field(default_factory=dict)
    upstreams: Mapping[str, UpstreamView] = field(default_factory=dict)
    default_telemetry: TelemetryView = DEFAULT_TELEMETRY
    problems: tuple[str, ...] = ()

    def node(self, identity: Identity, bindings: Bindings) -> NodeSnapshot:
        """What the proxies of `identity` may see."""
        return NodeSnapshot(self, identity, bindings)

    def changed_from(self, before: Snapshot) -> ChangedResources:
        """(type URL, name) of all that is new, gone or different since `before`, for any node."""
        found = _differing(before.shared, self.shared)
        for caller in {*before.variants, *self.variants}:
            found |= _differing(before.variants.get(caller, {}), self.variants.get(caller, {}))
        for place in {*before.endpoint_overrides, *self.endpoint_overrides}:
            found |= _differing(
                before.endpoint_overrides.get(place, {}), self.endpoint_overrides.get(place, {})
            )
        found |= self._telemetry_changes(before)
        for name in {*before.nodes, *self.nodes}:
            if before.nodes.get(name) != self.nodes.get(name):
                found.add((LDS, inbound.LISTENER))
                for view in (before.nodes.get(name), self.nodes.get(name)):
                    found.update((RDS, one.name) for one in (inbound.routes(view) if view else ()))
        upstreams = {*before.upstreams.items(), *self.upstreams.items()}
        differing = upstreams - (before.upstreams.items() & self.upstreams.items())
        found.update((LDS, tcp.listener_name(name)) for name, _ in differing)
        for name in {*before.gateways, *self.gateways}:
            if before.gateways.get(name) != self.gateways.get(name):
                for gateway_view in (before.gateways.get(name), self.gateways.get(name)):
                    for listener in gateway_view.listeners if gateway_view else ():
                        called = gateway.listener_name(name, listener.name)
                        found |= {(LDS, called), (RDS, called)}
        return frozenset(found)

    def _telemetry_changes(self, before: Snapshot) -> set[tuple[str, str]]:
        """The listeners of calls, where some service tells something else of them than before."""
        told = {name: node.telemetry for name, node in self.nodes.items()}
        if self.default_telemetry == before.default_telemetry and told == {
            name: node.telemetry for name, node in before.nodes.items()
        }:
            return set()
        return {(LDS, outbound.LISTENER), (LDS, connect_tunnel.LISTENER)}

    def node_resources(self) -> Iterable[tuple[str, Iterable[Resource]]]:
        """What each service's sidecars and each gateway have for themselves, bound to no port."""
        for name, node in self.nodes.items():
            yield (
                name,
                (
                    outbound.listener(LOOPBACK, 0, node.telemetry),
                    *inbound.listeners(node, LOOPBACK, 0),
                    *inbound.routes(node),
                ),
            )
        for name, upstream in self.upstreams.items():
            yield f"callers of {name}", (tcp.listener(name, LOOPBACK, 0, upstream),)
        for name, view in self.gateways.items():
            yield name, (*gateway.listeners(view, LOOPBACK, {}), *gateway.route_configurations(view))

    def dangling_references(self) -> tuple[str, ...]:
        """References that lead nowhere, in words; empty when the snapshot is consistent."""
        found = [*self.shared.values(), *(one for each in self.variants.values() for one in each.values())]
        found += [one for view in self.gateways.values() for one in gateway.route_configurations(view)]
        known = {name for kind, name in self.shared if kind == CDS}
        missing = [
            f"{one.name} names cluster {cluster}, which does not exist"
            for one in found
            for cluster in one.required_clusters
            if cluster not in known
        ]
        missing += [
            f"cluster {name} has no endpoints"
            for name in known
            if (EDS, name) not in self.shared and name != outbound.BLACKHOLE
        ]
        return tuple(missing)


def _differing(before: ResourceTable, now: ResourceTable) -> set[tuple[str, str]]:
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
        self._shared = snapshot.shared
        self._variant = snapshot.variants.get(identity.name, {})
        self._endpoint_overrides = _endpoint_overrides(snapshot, identity.name, bindings.zone)
        self._aliases = snapshot.aliases if identity.role == "service" else {}
        self._base, self._routes = _node_resources(snapshot, identity, bindings)

    def get(self, type_url: str, name: str) -> Resource | None:
        """A resource by its name, a virtual host also by an alias; None for what this node may not see."""
        if type_url == RDS:
            return self._routes.get(name)
        if type_url == VHDS:
            known = self._aliases.get(name)
            if known is None:
                return None
            name = known
        found = self._base.get(type_url, _NO_RESOURCES).get(name)
        if found is not None or type_url == LDS:
            return found
        for table in self._endpoint_overrides if type_url == EDS else ():
            if (type_url, name) in table:
                return table[type_url, name]
        return self._variant.get((type_url, name)) or self._shared.get((type_url, name))

    def base(self, type_url: str) -> Mapping[str, Resource]:
        """What a wildcard subscription always gets; the same object as long as it is the same."""
        return self._base.get(type_url, _NO_RESOURCES)


def _endpoint_overrides(snapshot: Snapshot, caller: str, zone: str) -> tuple[ResourceTable, ...]:
    """Endpoints that are not for everybody, what holds for this caller before what holds for this zone."""
    places = dict.fromkeys(((caller, zone), (caller, ""), ("", zone)))
    return tuple(
        snapshot.endpoint_overrides[place] for place in places if place in snapshot.endpoint_overrides
    )


ResourcesByName = Mapping[str, Resource]
_NO_RESOURCES: ResourcesByName = {}


def _node_resources(
    snapshot: Snapshot, identity: Identity, bindings: Bindings
) -> tuple[Mapping[str, ResourcesByName], ResourcesByName]:
    """A node's own resources: (wildcard ones by type, route configurations)."""
    if identity.role == "gateway":
        view = snapshot.gateways.get(identity.name)
        told = replace(snapshot.default_telemetry, service=identity.name)
        return _gateway_resources(view or GatewayView(identity.name, told, (NO_ROUTES,)), bindings)
    upstreams = tuple(snapshot.upstreams.get(name) for name, _, _ in bindings.upstreams)
    node = snapshot.nodes.get(identity.name)
    told = node.telemetry if node else replace(snapshot.default_telemetry, service=identity.name)
    return _sidecar_resources(node, told, bindings, upstreams)


def _by_name(resources: Iterable[Resource]) -> ResourcesByName:
    return {one.name: one for one in resources}


@lru_cache(maxsize=8192)
def _sidecar_resources(
    view: NodeView | None, told: TelemetryView, bindings: Bindings, upstreams: tuple[UpstreamView | None, ...]
) -> tuple[Mapping[str, ResourcesByName], ResourcesByName]:
    listeners: list[Resource] = []
    if bindings.outbound:
        told = replace(told, tracing=bindings.tracing, request_log=bindings.request_log)
        listeners += (outbound.listener(LOOPBACK, bindings.outbound, told), outbound.tunnel_listener(told))
    if view and bindings.inbound:
        listeners += inbound.listeners(
            view,
            bindings.address,
            bindings.inbound,
            tracing=bindings.tracing,
            request_log=bindings.request_log,
        )
    for bound, upstream in zip(bindings.upstreams, upstreams, strict=True):
        listeners.append(tcp.listener(*bound, upstream, request_log=bindings.request_log))
    routes = (outbound.route_configuration(), *(inbound.routes(view) if view else ()))
    clusters = _by_name([outbound.blackhole(), connect_tunnel.cluster()])
    return {CDS: clusters, LDS: _by_name(listeners)}, _by_name(routes)


@lru_cache(maxsize=256)
def _gateway_resources(
    view: GatewayView, bindings: Bindings
) -> tuple[Mapping[str, ResourcesByName], ResourcesByName]:
    ports = dict(bindings.gateway)
    listeners = gateway.listeners(
        view, bindings.address, ports, tracing=bindings.tracing, request_log=bindings.request_log
    )
    base = {CDS: _by_name([outbound.blackhole()]), LDS: _by_name(listeners)}
    return base, _by_name(gateway.route_configurations(view))
