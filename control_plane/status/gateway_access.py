"""What clients outside may call by a gateway: which route takes a call, and what its rules say. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.api.models.authorization import Access, AccessQuery
from meshwright.control_plane.core.attachment import EffectivePolicy
from meshwright.control_plane.core.header_changes import Headers, with_changes
from meshwright.control_plane.core.normal_path import normalized
from meshwright.control_plane.core.route_match import RoutedRequest, host_for, matching, rewritten
from meshwright.control_plane.core.views import GatewayView, HostView, RuleView
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.policies.authorization.in_force import NamedSpec
from meshwright.control_plane.policies.authorization.pairs import access
from meshwright.control_plane.policies.authorization.spec import AuthorizationSpec
from meshwright.control_plane.policies.authorization.verdict import AccessDecision, Call, decide
from meshwright.control_plane.policies.gateway.spec import Listener

DEFAULT_HOST = "localhost"
"""The host of a call to a gateway whose listener names none: gateways bind loopback by default."""


@dataclass(frozen=True, slots=True)
class Onward:
    """What a route makes of a call: a call of the gateway to a service. `port` is empty for the first.

    `headers` are those that the route leaves.
    """

    service: str
    port: str
    host: str
    path: str
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A call of a client outside. `decision` is that of the gateway; None: no route takes the call, or the
    gateway does not accept it (`refusal`).

    `route` is `Kind/name`. `onward` is empty if the gateway answers the call itself, as with a redirect.
    """

    decision: AccessDecision | None
    route: str = ""
    onward: tuple[Onward, ...] = ()
    refusal: str = "no route of the gateway is for it"


def with_host(query: AccessQuery, listeners: Iterable[Listener]) -> AccessQuery:
    """The query with a host: that of the first of a gateway's listeners that it may mean.

    A client sends one with every request. `localhost` where that listener is for any host, or for a wildcard.
    """
    if query.host:
        return query
    hostnames = [
        item.hostname
        for item in listeners
        if query.port in ("", item.name) and item.protocol in ("HTTP", "HTTPS")
    ]
    names_one = hostnames and hostnames[0] and not hostnames[0].startswith("*")
    return query.model_copy(update={"host": hostnames[0] if names_one else DEFAULT_HOST})


def entry(view: GatewayView, query: AccessQuery, call: Call) -> Entry:
    """What becomes of a call at a gateway. Raises InputError for an unknown listener, or one of TCP."""
    path = normalized(query.path) if view.edge.paths == "Normalize" else query.path
    if path is None:
        return Entry(None, refusal="the gateway responds 400 to an escaped slash or a fragment in the path")
    call = replace(call, path=path.partition("?")[0])
    request = RoutedRequest(query.method, query.host, path, query.headers)
    host = host_for(_hosts(view, query.port), query.host)
    taken = matching(host, request) if host else ()
    if not taken:
        return Entry(None)
    rule, _ = taken[0]
    onward = tuple(dict.fromkeys(item for _, route in taken for item in _onward(route, call, query.headers)))
    if not any(route.HasField("route") for _, route in taken):
        return Entry(decide((), call), rule.route)
    return Entry(decide(authorizations(rule.policies), call), rule.route, onward)


def clients_access(view: GatewayView, service: str, at_service: Access) -> Access | None:
    """What clients of a gateway may do at a service, where the gateway may do `at_service`.

    None if no route leads there.
    """
    rules = [
        rule
        for listener in view.listeners
        for host in listener.all_hosts
        for rule in host.rules
        if any(cluster_names.parse_cluster_name(b.cluster).service == service for b in rule.backends)
    ]
    if not rules:
        return None
    reached = {at_service} if at_service == "denied" else {access(_at(rule), None) for rule in rules}
    if reached == {"allowed"}:
        return at_service
    return "denied" if reached == {"denied"} else "partly"


def authorizations(policies: Iterable[EffectivePolicy]) -> tuple[NamedSpec, ...]:
    """The Authorizations of policies in force somewhere."""
    return tuple(
        (policy.ref, policy.spec) for policy in policies if isinstance(policy.spec, AuthorizationSpec)
    )


def _at(rule: RuleView) -> tuple[NamedSpec, ...]:
    return authorizations(rule.policies)


def _hosts(view: GatewayView, name: str) -> tuple[HostView, ...]:
    """The hosts of the listener of this name, or of all that take requests; raises InputError."""
    by_listener = {
        listener.name: listener.hosts for listener in view.listeners if listener.hosts or not listener.tcp
    }
    by_listener |= {secure.name: secure.hosts for item in view.listeners for secure in item.secure}
    if name and name not in by_listener:
        raise InputError(f"{view.name} has no HTTP listener {name!r}: they are {', '.join(by_listener)}")
    return by_listener[name] if name else tuple(host for hosts in by_listener.values() for host in hosts)


def _onward(route: v3.Route, call: Call, headers: Headers) -> Iterator[Onward]:
    # Of several clusters Envoy makes the changes of the chosen one first, then those of the route.
    action = route.route
    clusters = [
        (backend.name, with_changes(with_changes(headers, backend), route))
        for backend in action.weighted_clusters.clusters
    ]
    for cluster, changed in ((action.cluster, with_changes(headers, route)), *clusters):
        name = cluster_names.parse_cluster_name(cluster)
        leads_outside = map(cluster_names.is_external_node, (name.service, name.subset))
        if name.service and not any(leads_outside):
            yield Onward(
                name.service,
                name.port,
                action.host_rewrite_literal or call.host,
                rewritten(action, call.path),
                changed,
            )
