"""Rules of routes → Envoy's routes, for the virtual hosts of sidecars and gateways alike.

Envoy takes the first route that matches, so routes are sorted by the rank that their kind gives them, then by
the age of their document. The hooks of the policies in force patch each route.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from meshwright.control_plane.api.resource_metadata import METADATA_KEY
from meshwright.control_plane.core import preflights, route_statistics
from meshwright.control_plane.core.attachment import hooks_of, refs_of
from meshwright.control_plane.core.views import HostView, RuleView
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.grpcroute import envoy as grpcroute
from meshwright.control_plane.policies.grpcroute.spec import GRPCRouteRule
from meshwright.control_plane.policies.httproute import envoy as httproute
from meshwright.control_plane.policies.httproute.envoy import BLACKHOLE, ResolvedRule
from meshwright.control_plane.policies.httproute.matches import Rank
from meshwright.control_plane.policies.retry import envoy as retry

MOST_SPECIFIC_HEADERS_WIN = True
"""In all route configurations: the changes of a route override those of its host."""


@dataclass(frozen=True, slots=True)
class BuiltRoutes:
    """Routes in Envoy's order, the clusters they need, and the policies that shaped them."""

    routes: tuple[v3.Route, ...]
    clusters: tuple[str, ...]
    policies: tuple[str, ...]


def build_routes(host: HostView, *, gateway: bool = False) -> BuiltRoutes:
    """The routes of one virtual host, of a gateway or of a sidecar."""
    routes: list[v3.Route] = []
    clusters: dict[str, None] = {}
    refs: dict[str, None] = {}
    for rule, route in ranked_routes(host):
        match = v3.RouteMatch.FromString(route.match.SerializeToString())
        patched = _patch(rule, route, gateway=gateway)
        routes += preflights.routes(match, patched)
        routes += patched
        clusters.update(dict.fromkeys(name for route in patched for name in _clusters(route.route)))
        clusters.update(dict.fromkeys(_dependencies(rule)))
        refs.update(dict.fromkeys(_refs(rule)))
    clusters.pop(BLACKHOLE, None)
    return BuiltRoutes(tuple(routes), tuple(clusters), tuple(refs))


def ranked_routes(host: HostView) -> list[tuple[RuleView, v3.Route]]:
    """The routes of a virtual host without any policy, in Envoy's order, each with its rule."""
    ranked = [
        ((*rule.tier, *rank, *rule.age, index), rule, route)
        for rule in host.rules
        for index, (rank, route) in enumerate(_translate(rule, host))
    ]
    return [(rule, route) for _, rule, route in sorted(ranked, key=lambda entry: entry[0])]


def _translate(rule: RuleView, host: HostView) -> list[tuple[Rank, v3.Route]]:
    """The routes for each match of the rule, as the rule's kind makes them."""
    if isinstance(rule.rule, GRPCRouteRule):
        return grpcroute.routes(rule.route, rule.rule, rule.backends, rule.mirrors)
    resolved = ResolvedRule(rule.route, rule.rule, rule.backends, rule.mirrors, host.port, host.scheme)
    return httproute.routes(resolved)


def _clusters(action: v3.RouteAction) -> tuple[str, ...]:
    names = (action.cluster, *(entry.name for entry in action.weighted_clusters.clusters))
    return (*filter(None, names), *(mirror.cluster for mirror in action.request_mirror_policies))


def _dependencies(rule: RuleView) -> Iterator[str]:
    for policy in rule.policies:
        yield from policy.hooks.dependencies()


def _refs(rule: RuleView) -> tuple[str, ...]:
    route = (rule.route,) if rule.route else ()
    return tuple(dict.fromkeys((*route, *rule.rollouts, *refs_of(rule.policies))))


def _patch(rule: RuleView, route: v3.Route, *, gateway: bool) -> list[v3.Route]:
    """The route with metadata and policies applied; a policy may split it into several."""
    refs = _refs(rule)
    if refs:
        route.metadata.filter_metadata[METADATA_KEY].update({"policies": list(refs)})
    if name := route_statistics.rule_name(rule):
        route_statistics.mark(route, name)
    routes = [route]
    if not route.HasField("route"):
        return routes
    applied = hooks_of(rule.policies)
    for hooks in applied:
        routes = [split for patched in routes for split in hooks.patch_route(patched)]
    retried = any(isinstance(hooks, retry.RetryHooks) for hooks in applied)
    for patched in routes:
        if not retried:
            retry.set_default(patched)
        _apply_deadline(patched, grpc=rule.grpc)
        _allow_silence(patched)
    for hooks in applied if gateway else ():
        routes = [split for patched in routes for split in hooks.patch_gateway_route(patched)]
    return routes


def _allow_silence(route: v3.Route) -> None:
    """Keep silent streams open unless a Timeout ends them; otherwise the limit of the listener applies."""
    if route.HasField("route") and not route.route.HasField("idle_timeout"):
        route.route.idle_timeout.FromTimedelta(timedelta(0))


def _apply_deadline(route: v3.Route, *, grpc: bool) -> None:
    """Enforce a gRPC call's own deadline; a gRPC timeout is a deadline too, so it ends as DEADLINE_EXCEEDED.

    Envoy ignores `timeout` once `max_stream_duration` is set, so elsewhere a timeout stands alone.
    """
    if not route.HasField("route") or (route.route.timeout.ToTimedelta() and not grpc):
        return
    action, limits = route.route, route.route.max_stream_duration
    limits.grpc_timeout_header_max.FromTimedelta(timedelta(0))
    if grpc and action.timeout.ToTimedelta():
        limits.max_stream_duration.CopyFrom(action.timeout)
        limits.grpc_timeout_header_max.CopyFrom(action.timeout)
        action.timeout.FromTimedelta(timedelta(0))
