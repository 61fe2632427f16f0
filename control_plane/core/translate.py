"""World → Snapshot: computes views, compares them with the previous ones, and builds only what differs.

When only instances changed, only their endpoints are built. A destination whose translation fails keeps its
last configuration, and the snapshot's `problems` report the failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from meshwright.control_plane.api.models.instances import owner_name
from meshwright.control_plane.core import endpoints, gateway, inbound, outbound, patches
from meshwright.control_plane.core.external_translation import (
    NO_EXTERNALS,
    TranslatedExternals,
    translate_externals,
)
from meshwright.control_plane.core.resolver import Resolver
from meshwright.control_plane.core.resource import CDS, VHDS, Resource, encode
from meshwright.control_plane.core.snapshot import LOOPBACK, ResourceKey, ResourceTable, Snapshot
from meshwright.control_plane.core.views import DestinationView, GatewayView, NodeView, UpstreamView
from meshwright.control_plane.core.world import Instance, Service, World

DestinationKey = tuple[str, str]
"""(service, caller); an empty caller stands for all without a variant of their own."""

EndpointAssignments = Mapping[tuple[str, str], tuple[Resource, ...]]
"""A service's endpoint assignments by (caller, zone); an empty name stands for all."""


@dataclass(frozen=True, slots=True)
class TranslatedDestination:
    """A destination's view and the resources built from it."""

    view: DestinationView
    resources: tuple[Resource, ...]


@dataclass(frozen=True, slots=True)
class Views:
    """All views of one world, and the translated destinations."""

    destinations: Mapping[DestinationKey, TranslatedDestination] = field(default_factory=dict)
    nodes: Mapping[str, NodeView] = field(default_factory=dict)
    gateways: Mapping[str, GatewayView] = field(default_factory=dict)
    upstreams: Mapping[str, UpstreamView] = field(default_factory=dict)
    outside_clusters: tuple[Resource, ...] = ()
    externals: TranslatedExternals = NO_EXTERNALS
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Translation:
    """A snapshot with everything the next one can reuse."""

    world: World
    resolver: Resolver
    views: Views
    assignments: Mapping[str, EndpointAssignments]
    snapshot: Snapshot

    def clusters_of(self, owner: str) -> tuple[str, ...]:
        """The clusters whose endpoints are the instances of a service, or of `gateway/name`."""
        return tuple(resource.name for resource in self.assignments.get(owner, {}).get(("", ""), ()))


def translate(world: World, last: Translation | None = None) -> Translation:
    """The snapshot of `world`; `last` is the previous translation, for reuse."""
    same_documents = last is not None and last.world.documents == world.documents
    if last and same_documents:
        resolver = last.resolver
    else:
        previous = last.resolver if last else None
        resolver = Resolver(world.documents, world.trust_domain, previous, world.domains)
    same_topology = last is not None and same_documents and _topology(last.world) == _topology(world)
    views = last.views if last and same_topology else _build_views(world, resolver, last)
    assignments = _assignments(world, resolver, last if same_documents else None)
    snapshot = replace(_snapshot(world, views, assignments), default_settings=resolver.listener_settings())
    snapshot = _patched(snapshot, world, resolver)
    return Translation(world, resolver, views, assignments, snapshot)


def _topology(world: World) -> Mapping[str, object]:
    """What views depend on besides documents: gateways, and services with ports and health path."""
    return {
        "gateways": world.gateways,
        **{
            f"/{name}": (
                service.ports,
                service.health_path,
                service.intercepts,
                service.intercepts_in_force,
            )
            for name, service in world.services.items()
        },
    }


def _build_views(world: World, resolver: Resolver, last: Translation | None) -> Views:
    destinations: dict[DestinationKey, TranslatedDestination] = {}
    problems: list[str] = []
    previous = last.views if last else Views()
    for name in world.services:
        for caller in ("", *sorted(resolver.distinct_callers(name))):
            destination = _destination(world, resolver, (name, caller), previous.destinations, problems)
            if destination is not None:
                destinations[name, caller] = destination
    nodes = {name: resolver.node(world.services, service) for name, service in world.services.items()}
    nodes = _translate_or_keep(nodes, previous.nodes, _translate_node, "sidecars of", problems)
    names = sorted({*world.gateways, *resolver.gateways()})
    gateways = {name: resolver.gateway(world.services, name) for name in names}
    gateways = _translate_or_keep(gateways, previous.gateways, _translate_gateway, "gateway", problems)
    upstreams = resolver.upstreams(world.services)
    outside = tuple(encode(CDS, cluster.name, cluster) for cluster in resolver.outside_clusters())
    externals = translate_externals(resolver.externals, previous.externals, problems)
    return Views(destinations, nodes, gateways, upstreams, outside, externals, tuple(problems))


ViewT = TypeVar("ViewT")


def _translate_or_keep(
    views: Mapping[str, ViewT],
    previous: Mapping[str, ViewT],
    attempt: Callable[[ViewT], object],
    what: str,
    problems: list[str],
) -> dict[str, ViewT]:
    """The views that can be translated; the previous one, if any, in place of one that cannot."""
    usable = {}
    for name, view in views.items():
        try:
            if previous.get(name) != view:
                attempt(view)
            usable[name] = view
        except (TypeError, ValueError) as error:
            problems.append(f"{what} {name} keeps its last configuration: {error}")
            if name in previous:
                usable[name] = previous[name]
    return usable


def _translate_node(view: NodeView) -> object:
    return inbound.listeners(view, LOOPBACK, 0), inbound.routes(view), inbound.filters(view)


def _translate_gateway(view: GatewayView) -> object:
    routes = gateway.route_configurations(view, {})
    return gateway.listeners(view, LOOPBACK, {}), routes, gateway.filters(view)


def _destination(
    world: World,
    resolver: Resolver,
    key: DestinationKey,
    previous: Mapping[DestinationKey, TranslatedDestination],
    problems: list[str],
) -> TranslatedDestination | None:
    """One destination, taken from the last translation when its view is unchanged."""
    last = previous.get(key)
    view = resolver.destination(world.services, *key)
    if last is not None and last.view == view:
        return last
    try:
        return TranslatedDestination(view, outbound.destination(view))
    except (TypeError, ValueError) as error:
        problems.append(f"service {key[0]} keeps its last configuration: {error}")
        return last


def _assignments(
    world: World, resolver: Resolver, last: Translation | None
) -> Mapping[str, EndpointAssignments]:
    assignments = {}
    for name, service in world.services.items():
        if last and last.world.services.get(name) == service:
            assignments[name] = last.assignments[name]
        else:
            assignments[name] = _service_assignments(service, resolver)
    for gateway_name in sorted(set(resolver.externals.egress_gateways.values())):
        owner = owner_name(gateway_name, "gateway")
        instances = world.gateway_instances.get(gateway_name, ())
        if last and last.world.gateway_instances.get(gateway_name, ()) == instances:
            assignments[owner] = last.assignments[owner]
        else:
            assignments[owner] = _egress_assignments(gateway_name, instances, resolver)
    return assignments


def _egress_assignments(
    gateway_name: str, instances: Iterable[Instance], resolver: Resolver
) -> EndpointAssignments:
    usable = [item for item in instances if not endpoints.problem(item.address, item.port)]
    return {
        ("", ""): tuple(
            endpoints.assignment(cluster, usable, hostname=host)
            for cluster, host in resolver.externals.egress_sets(gateway_name)
        )
    }


def _unusable_instances(world: World) -> tuple[str, ...]:
    """The instances that are left out, and why: one of them must not block the others."""
    return tuple(
        f"instance {service.name}/{instance.name} is left out: {problem}"
        for service in world.services.values()
        for instance in service.instances
        if (problem := endpoints.problem(instance.address, instance.port))
    )


def _service_assignments(service: Service, resolver: Resolver) -> EndpointAssignments:
    usable = [
        instance for instance in service.instances if not endpoints.problem(instance.address, instance.port)
    ]
    sets = [
        (name, [instance for instance in usable if instance.serves(port, labels, intercept)])
        for name, port, labels, intercept in resolver.endpoint_sets(service)
    ]
    assignments = {}
    for caller, view in resolver.load_balancing(service.name).items():
        zones = endpoints.zones(service.instances) if view.weights.prefer_local_zone else ()
        for zone in ("", *zones):
            assignments[caller, zone] = tuple(
                endpoints.assignment(name, instances, view, zone) for name, instances in sets
            )
    return assignments


def _snapshot(world: World, views: Views, assignments: Mapping[str, EndpointAssignments]) -> Snapshot:
    overrides: dict[tuple[str, str], dict[ResourceKey, Resource]] = {("", ""): {}}
    for by_place in assignments.values():
        for place, resources in by_place.items():
            table = overrides.setdefault(place, {})
            table.update({(resource.type_url, resource.name): resource for resource in resources})
    shared = overrides.pop(("", ""))
    shared.update({(CDS, cluster.name): cluster for cluster in views.outside_clusters})
    variants: dict[str, dict[ResourceKey, Resource]] = {}
    aliases: dict[str, str] = {}
    for caller, by_name in views.externals.clusters.items():
        table = variants.setdefault(caller, {}) if caller else shared
        table.update({(CDS, name): cluster for name, cluster in by_name.items()})
    for (_, caller), destination in views.destinations.items():
        table = variants.setdefault(caller, {}) if caller else shared
        for resource in destination.resources:
            table[resource.type_url, resource.name] = resource
            if resource.type_url == VHDS:
                aliases.update(dict.fromkeys(resource.aliases, resource.name))
    return Snapshot(
        revision=world.revision,
        trust_domain=world.trust_domain,
        external_allowed=world.external_allowed,
        domains=world.domains,
        shared=shared,
        variants={caller: _variant(table, shared) for caller, table in variants.items()},
        endpoint_overrides=overrides,
        aliases=aliases,
        nodes=views.nodes,
        gateways=views.gateways,
        upstreams=views.upstreams,
        outside=views.externals.outside,
        problems=(*views.problems, *_unusable_instances(world)),
    )


def _patched(snapshot: Snapshot, world: World, resolver: Resolver) -> Snapshot:
    """The snapshot with the patches of finished resources, and why some of them cannot be applied."""
    owners = {name: resolver.patches(service=name) for name in snapshot.nodes}
    owners |= {name: resolver.patches(gateway=name) for name in snapshot.gateways}
    in_force = {name: policies for name, policies in owners.items() if policies}
    if not in_force:
        return snapshot
    if not world.patches_allowed:
        refs = sorted({policy.ref for policies in in_force.values() for policy in policies})
        denied = tuple(f"{ref} is not in force: MESH_ENVOY_PATCHES is deny" for ref in refs)
        return replace(snapshot, problems=(*snapshot.problems, *denied))
    snapshot = replace(snapshot, patches=in_force)
    misfits = tuple(
        misfit
        for owner, resources in snapshot.unpatched_resources()
        for misfit in patches.misfits(owner, resources, in_force.get(owner, ()))
    )
    return replace(snapshot, misfits=misfits, problems=(*snapshot.problems, *map(str, misfits)))


def _variant(table: ResourceTable, shared: ResourceTable) -> ResourceTable:
    """A caller's own resources: only those that differ from everybody's."""
    return {
        key: resource
        for key, resource in table.items()
        if key not in shared or shared[key].version != resource.version
    }
