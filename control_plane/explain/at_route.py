"""What becomes of a request at a route that takes it: filters, then a response, or a cluster. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.api.models.call_explanation import ExplainedRoute
from meshwright.control_plane.core.header_changes import Changing, with_changes
from meshwright.control_plane.core.route_match import described, rewritten
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.explain import filters, redirect, upstream
from meshwright.control_plane.explain.choice import ChosenHost, ChosenRoute, name_of, policies_of
from meshwright.control_plane.explain.flow import ExplainedProxy, Flow, Sender, header_details

CLIENT_ERROR = 400


@dataclass(frozen=True, slots=True)
class Approach:
    """How the request came to the route."""

    proxy: ExplainedProxy
    sender: Sender
    manager: v3.HttpConnectionManager
    config: v3.RouteConfiguration
    chosen: ChosenHost
    scheme: str


@dataclass(frozen=True, slots=True)
class _Target:
    """One of the clusters of a route (empty: it responds itself), and the share of its requests."""

    chosen: ChosenRoute
    cluster: str = ""
    share: float = 1.0
    weighted: v3.WeightedCluster.ClusterWeight | None = None

    @property
    def route(self) -> v3.Route:
        return self.chosen.route


def explained_routes(approach: Approach, flow: Flow, chosen: ChosenRoute) -> Iterator[ExplainedRoute]:
    """What becomes of the request of `flow` at a route, for each of its clusters."""
    action = chosen.route.route
    entries = action.weighted_clusters.clusters
    total = sum(entry.weight.value for entry in entries)
    targets = [
        _Target(chosen, item.name, item.weight.value / total, item) for item in entries if item.weight.value
    ]
    for target in targets or [_Target(chosen, action.cluster)]:
        yield _explained(approach, Flow(approach.proxy, approach.sender, flow.request), target)


def _explained(approach: Approach, flow: Flow, target: _Target) -> ExplainedRoute:
    route, name = target.route, name_of(target.route)
    refs = policies_of(route) or approach.chosen.policies
    number = f"route {target.chosen.position + 1} of {len(approach.chosen.host.routes)}"
    text = f"{name or route.name or 'every request'}, {number}: {described(route.match)}"
    flow.say("route", text, refs=_named(name), details=target.chosen.passed)
    places = (target.weighted, route, approach.chosen.host)
    scopes = [place.typed_per_filter_config for place in places if place is not None]
    filters.run(flow, approach.manager.http_filters, scopes, refs)
    if not flow.status:
        _act(flow, approach, target, refs)
    return flow.explained(
        share=target.chosen.share * target.share,
        name=name or route.name,
        position=target.chosen.position,
        cluster="" if flow.status else target.cluster,
    )


def _act(flow: Flow, approach: Approach, target: _Target, refs: tuple[str, ...]) -> None:
    """Redirect, respond or forward, as the router does behind all filters."""
    route, routing = target.route, _named(name_of(target.route))
    if route.HasField("redirect"):
        status = redirect.STATUSES[route.redirect.response_code]
        location = redirect.location(route.redirect, flow.request, approach.scheme)
        flow.say("redirect", f"{status} to {location}", "answers", refs=routing)
        flow.respond(status, location)
    elif route.HasField("direct_response"):
        answer = route.direct_response
        text = f"{answer.status} {answer.body.inline_string}".strip()
        flow.say("response", text, "refuses" if answer.status >= CLIENT_ERROR else "answers", refs=routing)
        flow.respond(answer.status)
    else:
        _change(flow, approach, target)
        if not cluster_names.is_app_cluster(target.cluster):
            upstream.of_route(flow, route.route, refs)
        upstream.of_cluster(flow, target.cluster)


def _change(flow: Flow, approach: Approach, target: _Target) -> None:
    """The changes to headers, host and path of a request that is forwarded."""
    route, before = target.route, flow.request
    places: list[Changing] = [approach.config, approach.chosen.host, route]
    if not approach.config.most_specific_header_mutations_wins:
        places.reverse()
    if target.weighted is not None:
        # Whatever the order of the others is, Envoy begins with one of several clusters.
        places.insert(0, target.weighted)
    for place in places:
        flow.set_headers(with_changes(tuple(flow.request.headers), place, flow.text))
    path, mark, query = before.path.partition("?")
    flow.request = replace(
        flow.request,
        host=route.route.host_rewrite_literal or before.host,
        path=f"{rewritten(route.route, path)}{mark}{query}",
    )
    details = header_details(tuple(before.headers), tuple(flow.request.headers))
    if flow.request.host != before.host:
        details.append(f"host: {before.host} → {flow.request.host}")
    if flow.request.path != before.path:
        details.append(f"path: {before.path} → {flow.request.path}")
    if details:
        flow.say("changes", "to the request", refs=_named(name_of(route)), details=details)


def _named(name: str) -> tuple[str, ...]:
    return (name,) if name else ()
