"""Rules of HTTPRoutes and GRPCRoutes → Envoy routes, for virtual hosts of sidecars and gateways alike.

Envoy takes the first route that matches, Gateway API the most specific one, so matches are sorted first:
exact path, regular expression, longest prefix, then method, most headers, most query parameters, then the
oldest document (HTTPRouteRule.matches of Gateway API v1).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from meshwright.control_plane.core.views import BackendView, HostView, MirrorView, RuleView
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.httproute import envoy_filters
from meshwright.control_plane.policies.httproute.matches import HTTPRouteMatch, ValueMatch

BLACKHOLE = "/blackhole"
"""A cluster without endpoints, for the share of traffic whose backend does not exist: it answers 503.

No service can have this name."""

METADATA_KEY = "meshwright"

MOST_SPECIFIC_HEADERS_WIN = True
"""For all route configurations: what a backend's filter sets stands, also where the rule sets the same."""


@dataclass(frozen=True, slots=True)
class BuiltRoutes:
    """Routes in the order Envoy tries them, the clusters they name, and the policies that shaped them."""

    routes: tuple[v3.Route, ...]
    clusters: tuple[str, ...]
    policies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _RankedMatch:
    rank: tuple[object, ...]
    rule: RuleView
    match: HTTPRouteMatch


def build_routes(host: HostView) -> BuiltRoutes:
    """The routes of one virtual host."""
    ranked = [
        _RankedMatch(_rank_grpc(match, rule, index) if rule.ranks else _rank(match, rule, index), rule, match)
        for rule in host.rules
        for index, match in enumerate(rule.rule.matches)
    ]
    found: list[v3.Route] = []
    clusters: dict[str, None] = {}
    refs: dict[str, None] = {}
    for one in sorted(ranked, key=lambda item: item.rank):
        made = _routes(one)
        found += made
        clusters.update(dict.fromkeys(name for route in made for name in _clusters(route.route)))
        refs.update(dict.fromkeys(_refs(one.rule)))
    clusters.pop(BLACKHOLE, None)
    return BuiltRoutes(tuple(found), tuple(clusters), tuple(refs))


def _clusters(action: v3.RouteAction) -> tuple[str, ...]:
    named = (action.cluster, *(one.name for one in action.weighted_clusters.clusters))
    return (*filter(None, named), *(one.cluster for one in action.request_mirror_policies))


def _rank(match: HTTPRouteMatch, rule: RuleView, index: int) -> tuple[object, ...]:
    kinds = {"Exact": 0, "RegularExpression": 1, "PathPrefix": 2}
    path = match.path
    return (
        kinds[path.type],
        -len(path.value.rstrip("/") if path.type == "PathPrefix" else path.value),
        match.method is None,
        -len(match.headers),
        -len(match.query_params),
        rule.age,
        index,
    )


def _rank_grpc(match: HTTPRouteMatch, rule: RuleView, index: int) -> tuple[object, ...]:
    """Of a GRPCRoute's match: longest service, longest method, most headers. It takes gRPC calls only, so it
    may stand before all that HTTPRoutes match by path."""
    return (0, *rule.ranks[index], -len(match.headers), 0, rule.age, index)


def _refs(rule: RuleView) -> tuple[str, ...]:
    own = (rule.route,) if rule.route else ()
    return tuple(dict.fromkeys((*own, *(bound.ref for bound in rule.policies))))


def _routes(one: _RankedMatch) -> list[v3.Route]:
    route = v3.Route(match=_match(one.match))
    if one.rule.ranks:
        route.match.grpc.SetInParent()
    envoy_filters.apply_header_modifiers(one.rule.rule.filters, route)
    _set_action(one.rule, one.match, route)
    refs = _refs(one.rule)
    if refs:
        route.metadata.filter_metadata[METADATA_KEY].update({"policies": list(refs)})
    found = [route]
    if not route.HasField("route"):
        return found
    for bound in one.rule.policies:
        found = [split for each in found for split in bound.spec.patch_route(each)]
    for each in found:
        _apply_deadline(each, grpc=one.rule.grpc)
    return found


def _apply_deadline(route: v3.Route, *, grpc: bool) -> None:
    """Enforce a call's own deadline; for gRPC a timeout is one more, so that it ends as DEADLINE_EXCEEDED.

    Envoy ignores `timeout` where `max_stream_duration` is set at all, so elsewhere a timeout stands alone.
    """
    if not route.HasField("route") or (route.route.timeout.ToTimedelta() and not grpc):
        return
    action, limits = route.route, route.route.max_stream_duration
    limits.grpc_timeout_header_max.FromTimedelta(timedelta(0))
    if grpc and action.timeout.ToTimedelta():
        limits.max_stream_duration.CopyFrom(action.timeout)
        limits.grpc_timeout_header_max.CopyFrom(action.timeout)
        action.timeout.FromTimedelta(timedelta(0))


def _set_action(rule: RuleView, match: HTTPRouteMatch, route: v3.Route) -> None:
    """Redirect, refuse, or forward."""
    redirect = next((one.request_redirect for one in rule.rule.filters if one.request_redirect), None)
    if redirect is not None:
        route.redirect.CopyFrom(envoy_filters.redirect_action(redirect, match.path))
        return
    live = [one for one in rule.backends if one.ref.weight > 0]
    if not any(one.cluster for one in live):
        names = ", ".join(f"{one.ref.kind} {one.ref.name}" for one in rule.backends) or "no backendRefs"
        text = f"{rule.route}: no backend to send to: {names}\n"
        route.direct_response.CopyFrom(
            v3.DirectResponseAction(status=503 if rule.grpc else 500, body=v3.DataSource(inline_string=text))
        )
        return
    action = v3.RouteAction(timeout=timedelta(0))
    _forward(live, action, route)
    envoy_filters.apply_rewrite(rule.rule.filters, match.path, action)
    action.request_mirror_policies.extend(_mirror(one) for one in rule.mirrors if one.cluster)
    route.route.CopyFrom(action)


def _forward(backends: list[BackendView], action: v3.RouteAction, route: v3.Route) -> None:
    if len(backends) == 1:
        action.cluster = backends[0].cluster
        envoy_filters.apply_header_modifiers(backends[0].ref.filters, route)
        return
    for one in backends:
        share = v3.WeightedCluster.ClusterWeight(
            name=one.cluster or BLACKHOLE, weight=v3.UInt32Value(value=one.ref.weight)
        )
        envoy_filters.apply_header_modifiers(one.ref.filters, share)
        action.weighted_clusters.clusters.append(share)


def _mirror(view: MirrorView) -> v3.RouteAction.RequestMirrorPolicy:
    million = v3.FractionalPercent(
        numerator=round(view.share * 1_000_000), denominator=v3.FractionalPercent.MILLION
    )
    return v3.RouteAction.RequestMirrorPolicy(
        cluster=view.cluster, runtime_fraction=v3.RuntimeFractionalPercent(default_value=million)
    )


# --- matches ------------------------------------------------------------------------------------------


def _match(match: HTTPRouteMatch) -> v3.RouteMatch:
    found = v3.RouteMatch()
    path = match.path
    if path.type == "Exact":
        found.path = path.value
    elif path.type == "RegularExpression":
        found.safe_regex.regex = path.value
    elif path.value == "/":
        found.prefix = "/"
    else:
        found.path_separated_prefix = path.value.rstrip("/")
    if match.method is not None:
        found.headers.append(
            v3.HeaderMatcher(name=":method", string_match=v3.StringMatcher(exact=match.method))
        )
    found.headers.extend(
        v3.HeaderMatcher(name=one.name.lower(), string_match=_string(one)) for one in match.headers
    )
    found.query_parameters.extend(
        v3.QueryParameterMatcher(name=one.name, string_match=_string(one)) for one in match.query_params
    )
    return found


def _string(match: ValueMatch) -> v3.StringMatcher:
    if match.type == "RegularExpression":
        return v3.StringMatcher(safe_regex=v3.RegexMatcher(regex=match.value))
    return v3.StringMatcher(exact=match.value)
