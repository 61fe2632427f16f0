"""HTTPRoute as Envoy's routes: one route for each match of a rule.

Envoy takes the first route that matches, the Gateway API the most specific one. So each route has a rank, the
lowest is tried first: exact path, regular expression, longest prefix, then method, most headers, most query
parameters (HTTPRouteRule.matches of Gateway API v1).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, TypeAlias

from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.hooks import Hooks, Symptom
from meshwright.control_plane.policies.httproute import envoy_filters
from meshwright.control_plane.policies.httproute.matches import HTTPRouteMatch, ValueMatch
from meshwright.control_plane.policies.httproute.spec import HTTPBackendRef, HTTPRouteRule, HTTPRouteSpec

BLACKHOLE = "/blackhole"
"""A cluster without endpoints, for the share of traffic whose backend does not exist: Envoy responds 503.

No service can have this name."""

NO_BACKEND_STATUS = 500
"""The Gateway API's status for a rule without a valid backend."""

Rank: TypeAlias = tuple[int, int, int, int, int]
"""The position of a route among others; the lowest is tried first."""

_PATH_RANKS = {"Exact": 0, "RegularExpression": 1, "PathPrefix": 2}


@dataclass(frozen=True, slots=True)
class ResolvedBackend:
    """A backendRef and its cluster; empty when there is no such service, port or subset."""

    ref: HTTPBackendRef
    cluster: str


@dataclass(frozen=True, slots=True)
class ResolvedMirror:
    """A mirror's cluster and the share of requests to copy, 0 to 1."""

    cluster: str
    share: float


@dataclass(frozen=True, slots=True)
class ResolvedRule:
    """A rule whose references are resolved. `route` is `Kind/name`, for the text of a failure response."""

    route: str
    rule: HTTPRouteRule
    backends: tuple[ResolvedBackend, ...]
    mirrors: tuple[ResolvedMirror, ...] = ()


class HTTPRouteHooks(Hooks[HTTPRouteSpec]):
    """Routing itself is `routes`; no hook changes what other kinds made."""

    explains: ClassVar[tuple[Symptom, ...]] = (Symptom("NR"), Symptom("NC"))


def routes(resolved: ResolvedRule, no_backend_status: int = NO_BACKEND_STATUS) -> list[tuple[Rank, v3.Route]]:
    """One route for each match of the rule, with its rank."""
    return [(_rank(match), _route(resolved, match, no_backend_status)) for match in resolved.rule.matches]


def _rank(match: HTTPRouteMatch) -> Rank:
    path = match.path
    return (
        _PATH_RANKS[path.type],
        -len(path.value.rstrip("/") if path.type == "PathPrefix" else path.value),
        match.method is None,
        -len(match.headers),
        -len(match.query_params),
    )


def _route(resolved: ResolvedRule, match: HTTPRouteMatch, no_backend_status: int) -> v3.Route:
    """A route that redirects, forwards, or responds that there is no backend."""
    filters = resolved.rule.filters
    route = v3.Route(match=_route_match(match))
    envoy_filters.apply_header_modifiers(filters, route)
    redirect = next((item.request_redirect for item in filters if item.request_redirect), None)
    backends = [backend for backend in resolved.backends if backend.ref.weight > 0]
    if redirect is not None:
        route.redirect.CopyFrom(envoy_filters.redirect_action(redirect, match.path))
    elif any(backend.cluster for backend in backends):
        action = v3.RouteAction(timeout=timedelta(0))
        _forward(backends, action, route)
        envoy_filters.apply_rewrite(filters, match.path, action)
        action.request_mirror_policies.extend(
            _mirror_policy(mirror) for mirror in resolved.mirrors if mirror.cluster
        )
        route.route.CopyFrom(action)
    else:
        route.direct_response.CopyFrom(_no_backend(resolved, no_backend_status))
    return route


def _no_backend(resolved: ResolvedRule, status: int) -> v3.DirectResponseAction:
    refs = (f"{backend.ref.kind} {backend.ref.name}" for backend in resolved.backends)
    text = f"{resolved.route}: no backend to send to: {', '.join(refs) or 'no backendRefs'}\n"
    return v3.DirectResponseAction(status=status, body=v3.DataSource(inline_string=text))


def _forward(backends: list[ResolvedBackend], action: v3.RouteAction, route: v3.Route) -> None:
    if len(backends) == 1:
        action.cluster = backends[0].cluster
        envoy_filters.apply_header_modifiers(backends[0].ref.filters, route)
        return
    for backend in backends:
        weighted = v3.WeightedCluster.ClusterWeight(
            name=backend.cluster or BLACKHOLE, weight=v3.UInt32Value(value=backend.ref.weight)
        )
        envoy_filters.apply_header_modifiers(backend.ref.filters, weighted)
        action.weighted_clusters.clusters.append(weighted)


def _mirror_policy(mirror: ResolvedMirror) -> v3.RouteAction.RequestMirrorPolicy:
    share = v3.FractionalPercent(
        numerator=round(mirror.share * 1_000_000), denominator=v3.FractionalPercent.MILLION
    )
    return v3.RouteAction.RequestMirrorPolicy(
        cluster=mirror.cluster, runtime_fraction=v3.RuntimeFractionalPercent(default_value=share)
    )


def _route_match(match: HTTPRouteMatch) -> v3.RouteMatch:
    result = v3.RouteMatch()
    path = match.path
    if path.type == "Exact":
        result.path = path.value
    elif path.type == "RegularExpression":
        result.safe_regex.regex = path.value
    elif path.value == "/":
        result.prefix = "/"
    else:
        result.path_separated_prefix = path.value.rstrip("/")
    if match.method is not None:
        result.headers.append(
            v3.HeaderMatcher(name=":method", string_match=v3.StringMatcher(exact=match.method))
        )
    result.headers.extend(
        v3.HeaderMatcher(name=header.name.lower(), string_match=_string_match(header))
        for header in match.headers
    )
    result.query_parameters.extend(
        v3.QueryParameterMatcher(name=param.name, string_match=_string_match(param))
        for param in match.query_params
    )
    return result


def _string_match(match: ValueMatch) -> v3.StringMatcher:
    if match.type == "RegularExpression":
        return v3.StringMatcher(safe_regex=v3.RegexMatcher(regex=match.value))
    return v3.StringMatcher(exact=match.value)
