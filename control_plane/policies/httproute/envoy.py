"""HTTPRoute as Envoy's routes: one route for each match of a rule, several where shares differ in more than
their cluster.

Envoy takes the first route that matches, the Gateway API the most specific one. So each route has the rank of
its match, the lowest is tried first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.hooks import (
    FilterEntry,
    FilterPhase,
    Hooks,
    ListenerDirection,
    Symptom,
)
from meshwright.control_plane.policies.httproute import envoy_cors as cors
from meshwright.control_plane.policies.httproute import envoy_filters, mirrored
from meshwright.control_plane.policies.httproute.envoy_filters import Scheme
from meshwright.control_plane.policies.httproute.matches import HTTPRouteMatch, Rank, ValueMatch, rank
from meshwright.control_plane.policies.httproute.spec import HTTPBackendRef, HTTPRouteRule, HTTPRouteSpec

BLACKHOLE = "/blackhole"
"""A cluster without endpoints, for the share of connections whose backend does not exist: they are closed.

No service can have this name."""

NO_BACKEND_STATUS = 500
"""The Gateway API's status for a rule without a valid backend."""


@dataclass(frozen=True, slots=True)
class ResolvedMirror:
    """A mirror's cluster and the share of requests to copy, 0 to 1."""

    cluster: str
    share: float


_HEADER_MODIFIERS = ("RequestHeaderModifier", "ResponseHeaderModifier")


@dataclass(frozen=True, slots=True)
class ResolvedBackend:
    """A backendRef and its cluster; if that is empty, `problem` says why. `mirrors` are its own.

    `outside`: the requests were for another host than that of the ExternalService behind it.
    """

    ref: HTTPBackendRef
    cluster: str
    problem: str = ""
    mirrors: tuple[ResolvedMirror, ...] = ()
    outside: bool = False


@dataclass(frozen=True, slots=True)
class ResolvedRule:
    """A rule whose references are resolved. `route` is `Kind/name`, for the text of a failure response.

    `port` and `scheme` are what redirects to another host keep; port 0 for the default port of the scheme.
    """

    route: str
    rule: HTTPRouteRule
    backends: tuple[ResolvedBackend, ...]
    mirrors: tuple[ResolvedMirror, ...] = ()
    port: int = 0
    scheme: Scheme = "http"


class HTTPRouteHooks(Hooks[HTTPRouteSpec]):
    """Routing itself is `routes`; no hook changes what other kinds made."""

    explains: ClassVar[tuple[Symptom, ...]] = (Symptom("NR"), Symptom("NC"))

    @classmethod
    def http_filters(cls, direction: ListenerDirection) -> Sequence[FilterEntry]:
        """The CORS filter, where routes are known."""
        return () if direction == "inbound" else ((FilterPhase.CORS, cors.NAME, v3.Cors()),)


def routes(resolved: ResolvedRule) -> list[tuple[Rank, v3.Route]]:
    """The routes for each match of the rule, with its rank."""
    return [
        (rank(match), route)
        for match in resolved.rule.matches
        for route in routes_of_match(resolved, match, NO_BACKEND_STATUS)
    ]


def routes_of_match(resolved: ResolvedRule, match: HTTPRouteMatch, no_backend_status: int) -> list[v3.Route]:
    """The routes that together handle the requests of one match, in the order in which to try them.

    One route suffices unless a part of the requests needs another action: the share of missing backends gets
    `no_backend_status` (HTTPRouteRule.backendRefs), that of a backend with filters of its own is rewritten,
    redirected or copied. Envoy compares the same random number with the fraction of every route, so each
    route but the last takes what the ones before it leave, up to its own threshold.
    """
    backends = [backend for backend in resolved.backends if backend.ref.weight > 0]
    redirected = any(item.request_redirect for item in resolved.rule.filters)
    if redirected or not any(backend.cluster for backend in backends):
        return _complete(_route(resolved, match, [], no_backend_status), resolved.scheme)
    missing = [backend for backend in backends if not backend.cluster]
    special = [backend for backend in backends if backend.cluster and _has_own_route(backend, resolved.rule)]
    plain = [backend for backend in backends if backend.cluster and backend not in special]
    shares = [share for share in (missing, *([backend] for backend in special), plain) if share]
    result = []
    threshold, total = 0, sum(backend.ref.weight for backend in backends)
    for share in shares:
        route = _route(resolved, match, [] if share is missing else share, no_backend_status)
        threshold += sum(backend.ref.weight for backend in share)
        if threshold < total:
            route.match.runtime_fraction.default_value.CopyFrom(_fraction(threshold / total))
        result += _complete(route, resolved.scheme)
    return result


def _complete(route: v3.Route, scheme: Scheme) -> list[v3.Route]:
    """The route; a redirect may need another one before it."""
    return envoy_filters.redirect_routes(route, scheme) if route.HasField("redirect") else [route]


def _has_own_route(backend: ResolvedBackend, rule: HTTPRouteRule) -> bool:
    """Whether it has filters that Envoy cannot apply to one of several clusters of a route.

    Its changes of headers would come before those of the rule, which would undo them.
    """
    modified = any(item.type in _HEADER_MODIFIERS for item in rule.filters)
    return any(modified or item.type not in _HEADER_MODIFIERS for item in backend.ref.filters)


def _route(
    resolved: ResolvedRule, match: HTTPRouteMatch, backends: list[ResolvedBackend], no_backend_status: int
) -> v3.Route:
    """A route that redirects, forwards to `backends`, or responds that there is none."""
    filters = resolved.rule.filters
    if len(backends) == 1:
        filters = (*filters, *backends[0].ref.filters)
    route = v3.Route(match=_route_match(match))
    envoy_filters.apply_header_modifiers(filters, route)
    cors.apply(filters, route)
    redirects = [item.request_redirect for item in filters if item.request_redirect]
    if redirects:
        place = (resolved.scheme, resolved.port)
        route.redirect.CopyFrom(envoy_filters.redirect_action(redirects[-1], match.path, place))
    elif backends:
        action = v3.RouteAction(timeout=timedelta(0))
        _forward(backends, action)
        envoy_filters.apply_rewrite(filters, match.path, action)
        _ask_for_host_outside(backends, action)
        mirrors = resolved.mirrors + (backends[0].mirrors if len(backends) == 1 else ())
        action.request_mirror_policies.extend(_mirror_policy(mirror) for mirror in mirrors if mirror.cluster)
        route.route.CopyFrom(action)
    else:
        route.direct_response.CopyFrom(_no_backend(resolved, no_backend_status))
    return route


def _no_backend(resolved: ResolvedRule, status: int) -> v3.DirectResponseAction:
    problems = [backend.problem or "weight 0" for backend in resolved.backends if not backend.cluster]
    unused = "every backend has weight 0" if resolved.backends else "no backendRefs"
    text = f"{resolved.route}: no backend to send to: {'; '.join(problems) or unused}\n"
    return v3.DirectResponseAction(status=status, body=v3.DataSource(inline_string=text))


def _forward(backends: list[ResolvedBackend], action: v3.RouteAction) -> None:
    if len(backends) == 1:
        action.cluster = backends[0].cluster
        return
    for backend in backends:
        weighted = v3.WeightedCluster.ClusterWeight(
            name=backend.cluster, weight=v3.UInt32Value(value=backend.ref.weight)
        )
        envoy_filters.apply_header_modifiers(backend.ref.filters, weighted)
        action.weighted_clusters.clusters.append(weighted)


def _ask_for_host_outside(backends: list[ResolvedBackend], action: v3.RouteAction) -> None:
    """Name a host outside by its own name, unless the route gives another. Services have no such name."""
    if any(backend.outside for backend in backends) and action.WhichOneof("host_rewrite_specifier") is None:
        action.auto_host_rewrite.value = True


def _mirror_policy(mirror: ResolvedMirror) -> v3.RouteAction.RequestMirrorPolicy:
    return mirrored.policy(mirror.cluster, _fraction(mirror.share))


def _fraction(share: float) -> v3.FractionalPercent:
    return v3.FractionalPercent(numerator=round(share * 1_000_000), denominator=v3.FractionalPercent.MILLION)


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
