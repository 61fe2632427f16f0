"""World → Snapshot: views are made, compared with those of the last snapshot, and only what differs is built.

When only instances changed, only their endpoints are built. A destination whose translation fails keeps what
it last had, and the failure is told in the snapshot's `problems`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from meshwright.control_plane.core import endpoints, gateway, inbound, outbound
from meshwright.control_plane.core.resolver import Resolver
from meshwright.control_plane.core.resource import VHDS, Resource
from meshwright.control_plane.core.snapshot import LOOPBACK, ResourceTable, Snapshot
from meshwright.control_plane.core.views import DestinationView, GatewayView, NodeView, UpstreamView
from meshwright.control_plane.core.world import Service, World

DestinationKey = tuple[str, str]
"""(service, caller); an empty caller is everybody without a variant of their own."""

EndpointAssignments = Mapping[tuple[str, str], tuple[Resource, ...]]
"""A service's endpoint assignments by (caller, zone), empty for all callers and all zones."""


@dataclass(frozen=True, slots=True)
class TranslatedDestination:
    """A destination's view and what it was translated to."""

    view: DestinationView
    resources: tuple[Resource, ...]


@dataclass(frozen=True, slots=True)
class Views:
    """All views of one world, and the translated destinations."""

    destinations: Mapping[DestinationKey, TranslatedDestination] = field(default_factory=dict)
    nodes: Mapping[str, NodeView] = field(default_factory=dict)
    gateways: Mapping[str, GatewayView] = field(default_factory=dict)
    upstreams: Mapping[str, UpstreamView] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Translation:
    """A snapshot with all that lets the next one reuse it."""

    world: World
    resolver: Resolver
    views: Views
    assignments: Mapping[str, EndpointAssignments]
    snapshot: Snapshot


def translate(world: World, last: Translation | None = None) -> Translation:
    """The snapshot of `world`; `last` is what came before it, for reuse."""
    same_documents = last is not None and last.world.documents == world.documents
    resolver = last.resolver if last and same_documents else Resolver(world.documents, world.trust_domain)
    same_shape = last is not None and same_documents and _topology(last.world) == _topology(world)
    views = last.views if last and same_shape else _build_views(world, resolver, last)
    assignments = _assignments(world, resolver, last if same_documents else None)
    snapshot = replace(_snapshot(world, views, assignments), default_telemetry=resolver.telemetry())
    return Translation(world, resolver, views, assignments, snapshot)


def _topology(world: World) -> Mapping[str, object]:
    """What views depend on beside documents: which services and gateways there are, with which ports."""
    return {"gateways": world.gateways, **{f"/{name}": one.ports for name, one in world.services.items()}}


def _build_views(world: World, resolver: Resolver, last: Translation | None) -> Views:
    parts: dict[DestinationKey, TranslatedDestination] = {}
    problems: list[str] = []
    old = last.views.destinations if last else {}
    for name in world.services:
        for caller in ("", *sorted(resolver.distinct_callers(name))):
            part = _destination(world, resolver, (name, caller), old, problems)
            if part is not None:
                parts[name, caller] = part
    nodes = {name: resolver.node(service) for name, service in world.services.items()}
    nodes = _translate_or_keep(
        nodes, last.views.nodes if last else {}, _translate_node, "sidecars of", problems
    )
    names = sorted({*world.gateways, *resolver.gateways()})
    gateways = {name: resolver.gateway(world.services, name) for name in names}
    gateways = _translate_or_keep(
        gateways, last.views.gateways if last else {}, _translate_gateway, "gateway", problems
    )
    return Views(parts, nodes, gateways, resolver.upstreams(world.services), tuple(problems))


ViewT = TypeVar("ViewT")


def _translate_or_keep(
    views: Mapping[str, ViewT],
    old: Mapping[str, ViewT],
    attempt: Callable[[ViewT], object],
    what: str,
    problems: list[str],
) -> dict[str, ViewT]:
    """The views that can be translated; in place of one that cannot, what there was before, if anything."""
    found = {}
    for name, view in views.items():
        try:
            if old.get(name) != view:
                attempt(view)
            found[name] = view
        except (TypeError, ValueError) as error:
            problems.append(f"{what} {name} keeps its last configuration: {error}")
            if name in old:
                found[name] = old[name]
    return found


def _translate_node(view: NodeView) -> object:
    return inbound.listeners(view, LOOPBACK, 0), inbound.routes(view)


def _translate_gateway(view: GatewayView) -> object:
    return gateway.listeners(view, LOOPBACK, {}), gateway.route_configurations(view)


def _destination(
    world: World,
    resolver: Resolver,
    key: DestinationKey,
    old: Mapping[DestinationKey, TranslatedDestination],
    problems: list[str],
) -> TranslatedDestination | None:
    """One destination, taken from the last translation when its view is the same."""
    before = old.get(key)
    view = resolver.destination(world.services, *key)
    if before is not None and before.view == view:
        return before
    try:
        return TranslatedDestination(view, outbound.destination(view))
    except (TypeError, ValueError) as error:
        problems.append(f"service {key[0]} keeps its last configuration: {error}")
        return before


def _assignments(
    world: World, resolver: Resolver, last: Translation | None
) -> Mapping[str, EndpointAssignments]:
    found = {}
    for name, service in world.services.items():
        if last and last.world.services.get(name) == service:
            found[name] = last.assignments[name]
        else:
            found[name] = _service_assignments(service, resolver)
    return found


def _service_assignments(service: Service, resolver: Resolver) -> EndpointAssignments:
    sets = [
        (name, [one for one in service.instances if one.matches(labels)])
        for name, labels in resolver.endpoint_sets(service)
    ]
    found = {}
    for caller, view in resolver.load_balancing(service.name).items():
        near = endpoints.zones(service.instances) if view.weights.prefer_local_zone else ()
        for zone in ("", *near):
            found[caller, zone] = tuple(
                endpoints.assignment(name, instances, view, zone) for name, instances in sets
            )
    return found


def _snapshot(world: World, views: Views, assignments: Mapping[str, EndpointAssignments]) -> Snapshot:
    placed: dict[tuple[str, str], dict[tuple[str, str], Resource]] = {("", ""): {}}
    for by_place in assignments.values():
        for place, found in by_place.items():
            placed.setdefault(place, {}).update({(one.type_url, one.name): one for one in found})
    shared = placed.pop(("", ""))
    variants: dict[str, dict[tuple[str, str], Resource]] = {}
    aliases: dict[str, str] = {}
    for (_, caller), part in views.destinations.items():
        table = variants.setdefault(caller, {}) if caller else shared
        for one in part.resources:
            table[one.type_url, one.name] = one
            if one.type_url == VHDS:
                aliases.update(dict.fromkeys(one.aliases, one.name))
    return Snapshot(
        revision=world.revision,
        trust_domain=world.trust_domain,
        shared=shared,
        variants={caller: _differing(table, shared) for caller, table in variants.items()},
        endpoint_overrides=placed,
        aliases=aliases,
        nodes=views.nodes,
        gateways=views.gateways,
        upstreams=views.upstreams,
        problems=views.problems,
    )


def _differing(table: Mapping[tuple[str, str], Resource], shared: ResourceTable) -> ResourceTable:
    """What a caller has for itself: only what is not what everybody has."""
    return {key: one for key, one in table.items() if key not in shared or shared[key].version != one.version}
