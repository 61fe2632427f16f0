"""The policies of a service or of one edge: which apply, which are overridden, and their states. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from meshwright.control_plane.api.cluster_names import is_external_node
from meshwright.control_plane.api.models.policies import (
    AttachedPolicy,
    AttachmentLevelName,
    PolicyState,
    PolicyStatus,
    ServicePolicies,
)
from meshwright.control_plane.core.attachment import (
    AttachmentLevel,
    AttachmentPoint,
    PolicyPrecedence,
    edge_point,
    effective_policies,
    implementing,
)
from meshwright.control_plane.core.resolver import Resolver
from meshwright.control_plane.core.translate import Translation
from meshwright.control_plane.core.world import PolicyDocument, World
from meshwright.control_plane.policies.base import TargetRef
from meshwright.control_plane.policies.gateway.spec import Gateway
from meshwright.control_plane.policies.grpcroute.spec import GRPCRoute
from meshwright.control_plane.policies.httproute.spec import HTTPRoute
from meshwright.control_plane.policies.subset.spec import Subset
from meshwright.control_plane.policies.tcproute.spec import TCPRoute
from meshwright.control_plane.policies.tlsroute.spec import TLSRoute

States = Mapping[tuple[str, str], PolicyState]

Edge = tuple[AttachmentPoint, ...]
"""The points of one edge: the edge itself, then the rules of its routes."""

Route = HTTPRoute | GRPCRoute | TCPRoute | TLSRoute

_LEVELS: Mapping[AttachmentLevel, AttachmentLevelName] = {
    AttachmentLevel.MESH: "mesh",
    AttachmentLevel.GATEWAY: "gateway",
    AttachmentLevel.LISTENER: "listener",
    AttachmentLevel.SERVICE: "service",
    AttachmentLevel.ROUTE: "route",
    AttachmentLevel.RULE: "rule",
}


def service_policies(
    translation: Translation | None, name: str, caller: str, statuses: Iterable[PolicyStatus]
) -> ServicePolicies | None:
    """The policies that target service or gateway `name`; with `caller` those of the edge to it.

    None if the mesh has no such service or gateway.
    """
    if translation is None:
        return None
    world, resolver = translation.world, translation.resolver
    if is_external_node(name):
        return _external_policies(resolver, name, caller, statuses)
    is_gateway = name in world.gateways or name in resolver.gateways()
    if name not in world.services and not is_gateway:
        return None
    states: States = {(status.kind, status.name): status.state for status in statuses}
    edges = _gateway_edges(resolver, name) if is_gateway else _edges(world, resolver, name, caller)
    targeted = [_attached(entry, states) for entry in _merge(resolver, edges)]
    resources = _resources(world.documents, name, caller, states)
    ordered = sorted((*targeted, *resources), key=_most_specific_first)
    return ServicePolicies(service=name, from_=caller, policies=tuple(ordered))


def _external_policies(
    resolver: Resolver, node: str, caller: str, statuses: Iterable[PolicyStatus]
) -> ServicePolicies | None:
    """The policies that target an ExternalService, by the name of its node."""
    name = node.partition("/")[2]
    if name not in resolver.externals.services:
        return None
    states: States = {(status.kind, status.name): status.state for status in statuses}
    callers = [caller] if caller else ["", *sorted(resolver.attachments.callers_of_external(name))]
    edges = ((edge_point(node, each),) for each in callers)
    policies = [_attached(entry, states) for entry in _merge(resolver, edges)]
    return ServicePolicies(
        service=node, from_=caller, policies=tuple(sorted(policies, key=_most_specific_first))
    )


def _gateway_edges(resolver: Resolver, gateway: str) -> Iterator[Edge]:
    yield resolver.gateway_points(gateway)


def _edges(world: World, resolver: Resolver, service: str, caller: str) -> Iterator[Edge]:
    """The edge from `caller`; without one, those of callers in general and of callers that policies name."""
    gateways = {*world.gateways, *resolver.gateways()}
    if caller:
        if caller in gateways:
            yield resolver.gateway_points(caller, service)
        else:
            yield resolver.edge_points(service, caller)
        return
    yield resolver.edge_points(service)
    for named in sorted(resolver.distinct_callers(service) - gateways):
        yield resolver.edge_points(service, named)
    for gateway in sorted(gateways):
        points = resolver.gateway_points(gateway, service)
        if len(points) > 1:
            yield points


def _merge(resolver: Resolver, edges: Iterable[Edge]) -> list[PolicyPrecedence]:
    """Every policy once: it is in force if it is at any point, and overridden if it is at all of them."""
    merged: dict[str, PolicyPrecedence] = {}
    for edge in edges:
        for index, point in enumerate(edge):
            for entry in effective_policies(resolver.attachments, point):
                if index == 0 and _only_rules_count(entry, edge):
                    continue
                other = merged.get(entry.policy.ref)
                if other is None or _weight(entry) > _weight(other):
                    merged[entry.policy.ref] = entry
    return list(merged.values())


def _only_rules_count(entry: PolicyPrecedence, edge: Edge) -> bool:
    """Whether a kind acts on routes, and the edge has routes of its own instead of the default one.

    An HTTP port with gRPC routes alone keeps its default route. A kind that weighs endpoints acts on the
    whole cluster.
    """
    has_http_routes = any(not point.route.startswith("GRPCRoute/") for point in edge[1:])
    on_routes = implementing((entry.policy,), "patch_route")
    return has_http_routes and bool(on_routes) and not implementing((entry.policy,), "endpoint_weights")


def _weight(entry: PolicyPrecedence) -> tuple[bool, AttachmentLevel]:
    return (not entry.overridden_by, entry.level)


def _attached(entry: PolicyPrecedence, states: States) -> AttachedPolicy:
    kind, _, name = entry.policy.ref.partition("/")
    return AttachedPolicy(
        kind=kind,
        name=name,
        level=_LEVELS[entry.level],
        target=_target_text(entry.target),
        section=entry.target.section_name,
        from_=tuple(entry.policy.spec.from_),
        in_force=not entry.overridden_by,
        overridden_by=entry.overridden_by,
        state=states.get((kind, name), "unknown"),
    )


def _target_text(target: TargetRef) -> str:
    return f"{target.kind}/{target.name}" if target.name else target.kind


def _resources(
    documents: Iterable[PolicyDocument], name: str, caller: str, states: States
) -> Iterator[AttachedPolicy]:
    """Documents that are not attached by targetRefs: the Gateway, its routes or the service's, Subsets."""
    documents = tuple(documents)
    subsets = {
        document.policy.name: document.policy.spec.service
        for document in documents
        if isinstance(document.policy, Subset)
    }
    for document in documents:
        match document.policy:
            case Subset() as subset if subset.spec.service == name:
                yield _resource(document, "service", f"Service/{name}", states)
            case Gateway() as gateway if gateway.name == name:
                yield _resource(document, "gateway", f"Gateway/{name}", states)
            case HTTPRoute() | GRPCRoute() | TCPRoute() | TLSRoute() as route if _concerns(
                route, name, caller, subsets
            ):
                parents = ", ".join(f"{ref.kind}/{ref.name}" for ref in route.spec.parent_refs)
                yield _resource(document, "route", parents, states)


def _concerns(route: Route, name: str, caller: str, subsets: Mapping[str, str]) -> bool:
    """Whether a route is attached to `name`, or attached to `caller` (any if empty) and leads to `name`."""
    parents = {ref.name for ref in route.spec.parent_refs}
    backends = {
        subsets.get(ref.name, "") if ref.kind == "Subset" else ref.name
        for rule in route.spec.rules
        for ref in rule.backend_refs
    }
    return name in parents or (name in backends and (not caller or caller in parents))


def _resource(
    document: PolicyDocument, level: AttachmentLevelName, target: str, states: States
) -> AttachedPolicy:
    kind, name = document.policy.kind, document.policy.name
    state = states.get((kind, name), "unknown")
    return AttachedPolicy(kind=kind, name=name, level=level, target=target, in_force=True, state=state)


def _most_specific_first(policy: AttachedPolicy) -> tuple[bool, int, str, str]:
    levels = tuple(_LEVELS.values())
    return (not policy.in_force, -levels.index(policy.level), policy.kind, policy.name)
