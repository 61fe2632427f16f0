"""What one proxy does with a request: listener, path, virtual host, and the routes that take it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from meshwright.control_plane.api.models.call_explanation import ExplainedRoute, ExplainedStep
from meshwright.control_plane.core.header_changes import with_mutations
from meshwright.control_plane.core.normal_path import normalized
from meshwright.control_plane.core.resource import LDS, RDS
from meshwright.control_plane.core.route_match import RoutedRequest
from meshwright.control_plane.core.trace_context import PARENT_HEADERS
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.explain import edge
from meshwright.control_plane.explain.at_route import Approach, explained_routes
from meshwright.control_plane.explain.choice import MAX_DOCUMENTS, host_of, listed, mismatches, routes_of
from meshwright.control_plane.explain.flow import ExplainedProxy, Flow, Sender, header_details
from meshwright.control_plane.explain.listener import DownstreamConnection, chain_for, manager_of
from meshwright.control_plane.explain.resources import message, unpacked

NOT_FOUND, BAD_REQUEST, UNAVAILABLE = 404, 400, 503


@dataclass(frozen=True, slots=True)
class Passed:
    """What a proxy makes of a request: the steps before a route is chosen, then each route with its share."""

    steps: tuple[ExplainedStep, ...]
    routes: tuple[ExplainedRoute, ...]


def through(
    proxy: ExplainedProxy,
    listener: str,
    connection: DownstreamConnection,
    sender: Sender,
    request: RoutedRequest,
) -> Passed:
    """What the proxy does with a request that comes to one of its listeners."""
    flow = Flow(proxy, sender, request)
    manager = _accept(flow, listener, connection)
    if manager is None:
        return _ended(flow)
    if not flow.status:
        _prepare(flow, manager)
    routes = proxy.node.get(RDS, manager.rds.route_config_name)
    if flow.status or routes is None:
        return _ended(flow)
    config: v3.RouteConfiguration = message(routes)
    chosen = host_of(proxy.node, config, routes.policies, flow.request.host)
    if chosen is None:
        flow.say("virtual host", f"none is for {flow.request.host}", "refuses")
        flow.respond(NOT_FOUND)
        return _ended(flow)
    flow.say("virtual host", f"{chosen.host.name}, for {', '.join(chosen.host.domains)}")
    if proxy.direction == "outbound":
        edge.of_host(flow, chosen)
    scheme = "https" if connection.tls and proxy.direction == "ingress" else "http"
    approach = Approach(proxy, sender, manager, config, chosen, scheme)
    explained = tuple(
        item
        for route in routes_of(chosen.host, flow.request)
        for item in explained_routes(approach, flow, route)
    )
    if not explained:
        reasons = mismatches(chosen.host, flow.request)
        refs = list(dict.fromkeys(name for name, _ in reasons))[:MAX_DOCUMENTS]
        flow.say("route", "none matches", "refuses", details=listed(reasons), refs=refs)
        flow.respond(NOT_FOUND)
        return _ended(flow)
    return Passed(tuple(flow.steps), explained)


def _accept(flow: Flow, listener: str, connection: DownstreamConnection) -> v3.HttpConnectionManager | None:
    """The connection manager that takes the connection."""
    resource = flow.proxy.node.get(LDS, listener)
    if resource is None:
        flow.say("listener", f"{listener} does not exist", "refuses")
        flow.respond(UNAVAILABLE)
        return None
    chain = chain_for(message(resource), connection)
    manager = manager_of(chain) if chain is not None else None
    if chain is None or manager is None:
        how = f"TLS for {connection.sni or 'no host'}" if connection.tls else "plaintext"
        flow.say("listener", f"{listener} takes no requests by {how}", "refuses", refs=resource.policies)
        flow.respond(UNAVAILABLE)
        return None
    by = "mutual TLS" if connection.tls and flow.sender.identity else "TLS" if connection.tls else "plaintext"
    who = f" from {flow.sender.identity}" if connection.tls and flow.sender.identity else ""
    name = f", filter chain {chain.name}" if chain.name else ""
    flow.say("listener", f"{listener}{name}, {by}{who}")
    if flow.proxy.direction == "ingress":
        edge.of_clients(flow, manager, resource.policies)
    return manager


def _prepare(flow: Flow, manager: v3.HttpConnectionManager) -> None:
    """What happens to a request before its route is chosen."""
    if manager.normalize_path.value:
        path = normalized(flow.request.path)
        if path is None:
            flow.say("path", "an escaped slash or a fragment", "refuses")
            flow.respond(BAD_REQUEST)
            return
        if path != flow.request.path:
            flow.say("path", f"normalised to {path}")
            flow.request = replace(flow.request, path=path)
    if manager.strip_trailing_host_dot:
        flow.request = replace(flow.request, host=flow.request.host.removesuffix("."))
    before = tuple(flow.request.headers)
    for extension in manager.early_header_mutation_extensions:
        config = unpacked(extension.typed_config)
        if isinstance(config, v3.EarlyHeaderMutation):
            mutations = [item for item in config.mutations if not _continues_trace(item)]
            flow.set_headers(with_mutations(tuple(flow.request.headers), mutations, flow.text))
    if details := header_details(before, tuple(flow.request.headers)):
        flow.say("header changes", "before the route is chosen", details=details)


def _continues_trace(mutation: v3.ConfigHeaderMutation) -> bool:
    """Whether the mutation drops only what is no valid trace context."""
    return (mutation.remove or mutation.append.header.key) in PARENT_HEADERS


def _ended(flow: Flow) -> Passed:
    """The proxy responds before it has a route."""
    return Passed(tuple(flow.steps), (flow.explained().model_copy(update={"steps": ()}),))
