"""A snapshot: every Envoy resource of the mesh at one revision, and what one node may see of it.

Resources that are the same for all callers exist once; a caller with different policies has a variant.
Listeners differ by node (where it binds), so they are built when a node asks and cached by their view.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal

from meshwright.control_plane.api.host_suffixes import DOMAINS, Domains, service_in
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.core import (
    clusters,
    connect_tunnel,
    external,
    gateway,
    inbound,
    outbound,
    patches,
    shared_filters,
    tcp,
)
from meshwright.control_plane.core.attachment import EffectivePolicy
from meshwright.control_plane.core.external_hosts import NO_HOSTS, OutsideHosts
from meshwright.control_plane.core.patches import Misfit
from meshwright.control_plane.core.resource import CDS, ECDS, EDS, LDS, RDS, VHDS, Resource
from meshwright.control_plane.core.views import (
    NO_EDGE_SETTINGS,
    GatewayView,
    ListenerSettings,
    ListenerView,
    NodeView,
    UpstreamView,
)
from meshwright.control_plane.policies.gateway.edge import EdgeSettings

ResourceKey = tuple[str, str]
"""(type URL, name)."""

ResourceTable = Mapping[ResourceKey, Resource]
ResourcesByName = Mapping[str, Resource]
_NO_RESOURCES: ResourcesByName = {}

NO_ROUTES = ListenerView("http", 0, ())
"""The listener of a gateway that no document describes: it responds 404."""

LOOPBACK = "127.0.0.1"
"""Where a sidecar's outbound proxy listens, whatever the node's address."""

ChangedResources = frozenset[ResourceKey]

NO_SETTINGS = ListenerSettings("")


@dataclass(frozen=True, slots=True)
class Bindings:
    """What one node reports about itself: where it binds its listeners, its zone, where telemetry goes.

    At a gateway `inbound` takes the calls of sidecars to hosts outside the mesh.

    `tracing`: it has a collector for spans. `request_log`: the control plane takes its request log.
    `span_log`: the control plane takes its spans, and makes those that its proxy only logs. `edge`: a
    gateway's settings from its application file. `outside`: what a sidecar does with calls to hosts that are
    not in the mesh; empty for the mesh's own setting. `secret_hash`: the hash of the credential that callers
    of the outbound listener need; empty: none.
    """

    address: str = "127.0.0.1"
    outbound: int = 0
    inbound: int = 0
    gateway: tuple[tuple[str, int], ...] = ()
    upstreams: tuple[tuple[str, str, int], ...] = ()
    zone: str = ""
    tracing: bool = False
    request_log: bool = False
    span_log: bool = False
    secret_hash: str = ""
    edge: EdgeSettings = NO_EDGE_SETTINGS
    outside: Literal["", "allow", "deny"] = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All resources at `revision`.

    `aliases` maps each host that callers may use to its virtual host. `default_settings` are those of a node
    whose service has not registered. `external_allowed`: sidecars pass on calls to hosts outside the mesh,
    unless their application says otherwise. `outside` has the hosts that ExternalServices declare, by caller,
    and `endpoint_overrides` endpoints by (caller, zone); an empty name stands for all without an entry of
    their own.

    `patches` of finished resources are by service or gateway; `misfits` are those that cannot be applied.
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
    default_settings: ListenerSettings = NO_SETTINGS
    external_allowed: bool = True
    domains: Domains = DOMAINS
    outside: Mapping[str, OutsideHosts] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    patches: Mapping[str, tuple[EffectivePolicy, ...]] = field(default_factory=dict)
    misfits: tuple[Misfit, ...] = ()

    def node(self, identity: Identity, bindings: Bindings) -> NodeSnapshot:
        """What the proxies of `identity` may see."""
        return NodeSnapshot(self, identity, bindings)

    def changed_from(self, previous: Snapshot) -> ChangedResources:
        """Every resource of any node that is new, gone or different since `previous`."""
        changed = _differences(previous.shared, self.shared)
        for caller in {*previous.variants, *self.variants}:
            changed |= _differences(previous.variants.get(caller, {}), self.variants.get(caller, {}))
        for key in {*previous.endpoint_overrides, *self.endpoint_overrides}:
            changed |= _differences(
                previous.endpoint_overrides.get(key, {}), self.endpoint_overrides.get(key, {})
            )
        changed |= self._changed_outbound(previous)
        changed |= self._changed_inbound(previous)
        upstreams = {*previous.upstreams.items(), *self.upstreams.items()}
        different = upstreams - (previous.upstreams.items() & self.upstreams.items())
        changed.update((LDS, tcp.listener_name(name)) for name, _ in different)
        changed |= self._changed_gateways(previous)
        if self.outside != previous.outside:
            changed.add((RDS, outbound.ROUTES))
            every = (*self.outside.values(), *previous.outside.values())
            changed.update((LDS, tcp.listener_name(name)) for hosts in every for name, _ in hosts.upstreams)
        for owner in {*previous.patches, *self.patches}:
            before, after = previous.patches.get(owner, ()), self.patches.get(owner, ())
            if before != after:
                changed |= patches.keys((*before, *after))
        return frozenset(changed)

    def outside_of(self, caller: str) -> OutsideHosts:
        """The hosts outside that a service's sidecars may call."""
        return self.outside.get(caller) or self.outside.get("", NO_HOSTS)

    def _changed_outbound(self, previous: Snapshot) -> set[ResourceKey]:
        """The outbound listeners, if the settings of any service differ."""
        settings = {name: node.settings for name, node in self.nodes.items()}
        before = {name: node.settings for name, node in previous.nodes.items()}
        if self.default_settings == previous.default_settings and settings == before:
            return set()
        return {(LDS, outbound.LISTENER), (LDS, connect_tunnel.LISTENER)}

    def _changed_inbound(self, previous: Snapshot) -> set[ResourceKey]:
        changed: set[ResourceKey] = set()
        for name in {*previous.nodes, *self.nodes}:
            views = (previous.nodes.get(name), self.nodes.get(name))
            if views[0] != views[1]:
                changed.add((LDS, inbound.LISTENER))
                for view in views:
                    resources = (*inbound.routes(view), *inbound.filters(view)) if view else ()
                    changed.update((resource.type_url, resource.name) for resource in resources)
        return changed

    def _changed_gateways(self, previous: Snapshot) -> set[ResourceKey]:
        changed: set[ResourceKey] = set()
        for name in {*previous.gateways, *self.gateways}:
            views = (previous.gateways.get(name), self.gateways.get(name))
            if views[0] != views[1]:
                for view in views:
                    filters = gateway.filters(view) if view else ()
                    changed.update((ECDS, resource.name) for resource in filters)
                    changed |= gateway.resource_keys(view) if view else set()
        return changed

    def node_resources(self) -> Iterable[tuple[str, Iterable[Resource]]]:
        """The resources of each service's sidecars and each gateway alone, bound to no port, patched."""
        for owner, resources in self.unpatched_resources():
            policies = self.patches.get(owner, ())
            yield owner, tuple(patches.patched(resource, policies) for resource in resources)

    def unpatched_resources(self) -> Iterable[tuple[str, Iterable[Resource]]]:
        """The same without patches; those that other callers have, too, only where they are patched."""
        for name, node in self.nodes.items():
            yield (
                name,
                (
                    outbound.listener(LOOPBACK, 0, node.settings),
                    *inbound.listeners(node, LOOPBACK, 0),
                    *inbound.routes(node),
                    *inbound.filters(node),
                    *self._patched_shared(name),
                ),
            )
        for name, upstream in self.upstreams.items():
            yield f"callers of {name}", (tcp.upstream_listener(name, LOOPBACK, 0, upstream),)
        for caller, outside in self.outside.items():
            if outside != NO_HOSTS:
                routes = outbound.route_configuration(outside=outside, domains=self.domains)
                yield caller or "all services", (routes,)
        for name, view in self.gateways.items():
            resources = (*gateway.listeners(view, LOOPBACK, {}), *gateway.route_configurations(view, {}))
            yield name, (*resources, *gateway.filters(view), *self._patched_shared(name))

    def _patched_shared(self, owner: str) -> Iterable[Resource]:
        for key in sorted(patches.keys(self.patches.get(owner, ()))):
            if key == (RDS, outbound.ROUTES):
                allowed, outside = self.external_allowed, self.outside_of(owner)
                yield outbound.route_configuration(
                    external_allowed=allowed, outside=outside, domains=self.domains
                )
            resource = self.variants.get(owner, {}).get(key) or self.shared.get(key)
            if resource is not None:
                yield resource

    def dangling_references(self) -> tuple[str, ...]:
        """Descriptions of references to missing resources; empty when the snapshot is consistent."""
        resources = [*self.shared.values(), *(r for table in self.variants.values() for r in table.values())]
        for view in self.gateways.values():
            resources += gateway.route_configurations(view, {})
            resources += gateway.filters(view)
        for node in self.nodes.values():
            resources += inbound.filters(node)
        existing = {name for type_url, name in self.shared if type_url == CDS}
        missing = [
            f"{resource.name} refers to cluster {cluster}, which does not exist"
            for resource in resources
            for cluster in resource.required_clusters
            if cluster not in existing
        ]
        missing += [
            f"cluster {name} has no endpoints"
            for name in existing
            if (EDS, name) not in self.shared and not name.startswith("/")
        ]
        return tuple(missing)


def _differences(previous: ResourceTable, current: ResourceTable) -> set[ResourceKey]:
    changed = {key for key in previous if key not in current}
    for key, resource in current.items():
        old = previous.get(key)
        if old is not resource and (old is None or old.version != resource.version):
            changed.add(key)
    return changed


class NodeSnapshot:
    """One node's part of a snapshot; it gives access to nothing else."""

    def __init__(self, snapshot: Snapshot, identity: Identity, bindings: Bindings) -> None:
        self.revision = snapshot.revision
        self._domains = snapshot.domains
        self._shared = snapshot.shared
        self._variant = snapshot.variants.get(identity.name, {})
        self._endpoint_overrides = _endpoint_overrides(snapshot, identity.name, bindings.zone)
        self._aliases = snapshot.aliases if identity.role == "service" else {}
        self._services: Collection[str] = snapshot.nodes.keys() if identity.role == "service" else ()
        self._base, self._routes = _node_resources(snapshot, identity, bindings)
        self._patches = snapshot.patches.get(identity.name, ())
        if self._patches:
            self._base = {url: self._patched(table) for url, table in self._base.items()}
            self._routes = self._patched(self._routes)

    def get(self, type_url: str, name: str) -> Resource | None:
        """A resource by name, a virtual host also by alias; None for what this node may not see."""
        if type_url == RDS:
            return self._routes.get(name)
        if type_url == VHDS:
            host = self._aliases.get(name)
            if host is None:
                return None
            name = host
        resource = self._base.get(type_url, _NO_RESOURCES).get(name)
        if resource is not None or type_url == LDS:
            return resource
        for table in self._endpoint_overrides if type_url == EDS else ():
            if (type_url, name) in table:
                return table[type_url, name]
        resource = self._variant.get((type_url, name)) or self._shared.get((type_url, name))
        return patches.patched(resource, self._patches) if resource and self._patches else resource

    def _patched(self, table: ResourcesByName) -> ResourcesByName:
        return {name: patches.patched(resource, self._patches) for name, resource in table.items()}

    def refused_host(self, name: str) -> Resource | None:
        """VHDS's reply for a name of a service that is no host of the mesh: it must lead nowhere else."""
        if name in self._aliases:
            return None
        host = name.removeprefix(f"{outbound.ROUTES}/").lower()
        service = service_in(host, self._domains)
        return outbound.refused_host(name, service) if service in self._services else None

    def differences(self, previous: NodeSnapshot, candidates: Iterable[ResourceKey]) -> ChangedResources:
        """Those of `candidates` that this node sees in another version than `previous`, or only in one."""
        return frozenset(
            key for key in candidates if _version(self.get(*key)) != _version(previous.get(*key))
        )

    def base(self, type_url: str) -> Mapping[str, Resource]:
        """What a wildcard subscription always gets; the same object as long as it is unchanged."""
        return self._base.get(type_url, _NO_RESOURCES)


def _version(resource: Resource | None) -> str:
    return resource.version if resource else ""


def _endpoint_overrides(snapshot: Snapshot, caller: str, zone: str) -> tuple[ResourceTable, ...]:
    """Endpoints that differ for this node: by caller before by zone."""
    keys = dict.fromkeys(((caller, zone), (caller, ""), ("", zone)))
    return tuple(snapshot.endpoint_overrides[key] for key in keys if key in snapshot.endpoint_overrides)


def _node_resources(
    snapshot: Snapshot, identity: Identity, bindings: Bindings
) -> tuple[Mapping[str, ResourcesByName], ResourcesByName]:
    """A node's own resources: (wildcard ones by type, route configurations)."""
    default = replace(snapshot.default_settings, owner=identity.name)
    if identity.role == "gateway":
        view = snapshot.gateways.get(identity.name)
        return _gateway_resources(view or GatewayView(identity.name, default, (NO_ROUTES,)), bindings)
    outside = snapshot.outside_of(identity.name)
    views = {**dict(outside.upstreams), **snapshot.upstreams}
    upstreams = tuple(views.get(name) for name, _, _ in bindings.upstreams)
    node = snapshot.nodes.get(identity.name)
    allowed = bindings.outside != "deny" if bindings.outside else snapshot.external_allowed
    settings = node.settings if node else default
    routes = outbound.route_configuration(external_allowed=allowed, outside=outside, domains=snapshot.domains)
    return _sidecar_resources(node, settings, bindings, upstreams, routes)


def _by_name(resources: Iterable[Resource]) -> ResourcesByName:
    return {resource.name: resource for resource in resources}


@lru_cache(maxsize=8192)
def _sidecar_resources(
    view: NodeView | None,
    settings: ListenerSettings,
    bindings: Bindings,
    upstreams: tuple[UpstreamView | None, ...],
    outbound_routes: Resource,
) -> tuple[Mapping[str, ResourcesByName], ResourcesByName]:
    listeners: list[Resource] = []
    request_log, span_log = bindings.request_log, bindings.span_log
    if bindings.outbound:
        settings = replace(settings, tracing=bindings.tracing, request_log=request_log, span_log=span_log)
        listeners += (
            outbound.listener(LOOPBACK, bindings.outbound, settings, bindings.secret_hash),
            outbound.tunnel_listener(settings),
        )
    if view and bindings.inbound:
        listeners += inbound.listeners(
            view,
            bindings.address,
            bindings.inbound,
            tracing=bindings.tracing,
            request_log=request_log,
            span_log=span_log,
        )
    for (name, address, port), upstream in zip(bindings.upstreams, upstreams, strict=True):
        listeners.append(tcp.upstream_listener(name, address, port, upstream, request_log=request_log))
    routes = (outbound_routes, *(inbound.routes(view) if view else ()))
    static_clusters = _by_name([clusters.blackhole(), connect_tunnel.cluster(), external.cluster()])
    filters = inbound.filters(view) if view else shared_filters.resources("inbound", ())
    base = {CDS: static_clusters, ECDS: _by_name(filters), LDS: _by_name(listeners)}
    return base, _by_name(routes)


@lru_cache(maxsize=256)
def _gateway_resources(
    view: GatewayView, bindings: Bindings
) -> tuple[Mapping[str, ResourcesByName], ResourcesByName]:
    # A gateway that an older agent started has no port for the calls of sidecars.
    egress = view.egress if bindings.inbound else ()
    view = replace(view, edge=bindings.edge.overridden_by(view.edge), egress=egress)
    listeners = gateway.listeners(
        view,
        bindings.address,
        dict(bindings.gateway),
        tracing=bindings.tracing,
        request_log=bindings.request_log,
        span_log=bindings.span_log,
        egress_port=bindings.inbound,
    )
    filters = gateway.filters(view)
    static_clusters = _by_name([clusters.blackhole()])
    base = {CDS: static_clusters, ECDS: _by_name(filters), LDS: _by_name(listeners)}
    return base, _by_name(gateway.route_configurations(view, dict(bindings.gateway)))
