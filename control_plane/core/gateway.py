"""GatewayView → the ingress: listeners that face users, and routes into the mesh.

The settings follow Envoy's "configuring Envoy as an edge proxy": what a client says about its address, scheme
and host is believed only of trusted proxies (edge.py), paths are normalised, every phase of a request and all
windows are bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from meshwright.control_plane.api import probes
from meshwright.control_plane.core import (
    access_log,
    authority,
    connection_filters,
    edge,
    egress,
    routes,
    secure_gateway,
    shared_filters,
    tcp,
    unused_filters,
)
from meshwright.control_plane.core import http_connection_manager as http
from meshwright.control_plane.core.connection_filters import ConnectionPoint
from meshwright.control_plane.core.resource import LDS, RDS, Resource, encode
from meshwright.control_plane.core.views import (
    GatewayView,
    HostView,
    ListenerSettings,
    ListenerView,
)
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.retry import app_failure


def listener_name(gateway: str, listener: str) -> str:
    """`ingress` for the listener called http, `ingress/admin` for one called admin."""
    return gateway if listener == "http" else f"{gateway}/{listener}"


def listeners(
    view: GatewayView,
    address: str,
    ports: Mapping[str, int],
    *,
    tracing: bool = False,
    request_log: bool = False,
    span_log: bool = False,
    egress_port: int = 0,
) -> tuple[Resource, ...]:
    """The listeners of one proxy; `ports` says where the node binds them, by listener name."""
    settings = replace(view.settings, tracing=tracing, request_log=request_log, span_log=span_log)
    listeners = [
        _listener(view, settings, listener, address, bound_port(listener, ports))
        for listener in view.listeners
    ]
    if view.egress:
        listeners.append(egress.listener(view, settings, address, egress_port))
    return tuple(listeners)


def _listener(
    gateway: GatewayView, settings: ListenerSettings, view: ListenerView, address: str, port: int
) -> Resource:
    if view.tcp:
        return _tcp_listener(gateway, settings, view, address, port)
    if view.secure:
        return _secure_listener(gateway, settings, view, address, port)
    return _http_listener(gateway, settings, view, address, port)


def resource_keys(view: GatewayView) -> set[tuple[str, str]]:
    """Type and name of every listener and route configuration."""
    keys = set()
    for listener in view.listeners:
        name = listener_name(view.name, listener.name)
        keys |= {(LDS, name), (RDS, name)}
        keys |= {(RDS, secure_gateway.section_name(view.name, secure)) for secure in listener.secure}
    if view.egress:
        keys.add((LDS, egress.LISTENER))
        keys |= {(RDS, entry.name) for entry in view.egress if entry.port.is_http}
    return keys


def bound_port(listener: ListenerView, ports: Mapping[str, int]) -> int:
    """The port where a node binds a listener: the node's own choice goes before the document's."""
    return ports.get(listener.name, listener.port)


def _tcp_listener(
    gateway: GatewayView, settings: ListenerSettings, view: ListenerView, address: str, port: int
) -> Resource:
    """Each connection goes to one of the backends of the listener's route."""
    document = (gateway.document,) if gateway.document else ()
    name = listener_name(gateway.name, view.name)
    return tcp.listener(
        name,
        address,
        port,
        view.tcp,
        "ingress",
        request_log=settings.request_log,
        policies=document,
        filters=connection_filters.filters(name),
        section=view.name,
    )


def filters(view: GatewayView) -> tuple[Resource, ...]:
    """The filters whose configuration travels by itself."""
    points = [
        ConnectionPoint(listener_name(view.name, listener.name), gateway=True, policies=listener.policies)
        for listener in view.listeners
        if listener.tcp
    ]
    points += [
        ConnectionPoint(
            secure_gateway.section_name(view.name, secure), gateway=True, policies=secure.policies
        )
        for listener in view.listeners
        for secure in listener.secure
        if not secure.takes_requests
    ]
    return (
        *shared_filters.resources("ingress", view.filters),
        *connection_filters.resources(tuple(points)),
        *map(egress.callers, view.egress),
    )


def _secure_listener(
    gateway: GatewayView, settings: ListenerSettings, view: ListenerView, address: str, port: int
) -> Resource:
    name = listener_name(gateway.name, view.name)
    chains = secure_gateway.filter_chains(gateway, settings, view, port)
    message = http.listener(name, address, port, chains)
    message.listener_filters.append(secure_gateway.tls_inspector())
    if settings.request_log:
        message.access_log.append(access_log.handshake_log("ingress"))
    upstreams = [upstream for secure in view.secure for _, upstream in secure.upstreams]
    clusters = [*settings.required_clusters]
    clusters += [cluster for upstream in upstreams for cluster in tcp.clusters_of(upstream)]
    refs = (
        *((gateway.document,) if gateway.document else ()),
        *(ref for secure in view.secure for ref in secure.certificates),
        *(ref for upstream in upstreams for ref in upstream.policies),
        *settings.refs,
    )
    required = tuple(dict.fromkeys(clusters))
    return encode(LDS, name, message, required_clusters=required, policies=tuple(dict.fromkeys(refs)))


def _http_listener(
    gateway: GatewayView, settings: ListenerSettings, view: ListenerView, address: str, port: int
) -> Resource:
    name = listener_name(gateway.name, view.name)
    chains = []
    for group in edge.clients(gateway.edge):
        manager = http.connection_manager("ingress", "ingress", name, settings)
        edge.apply(manager, group, gateway.edge, view.port or port)
        chains.append(edge.chain(manager, group))
    refs = (*((gateway.document,) if gateway.document else ()), *settings.refs)
    message = http.listener(name, address, port, chains)
    return encode(LDS, name, message, required_clusters=settings.required_clusters, policies=refs)


def route_configurations(view: GatewayView, ports: Mapping[str, int]) -> tuple[Resource, ...]:
    """One route configuration per HTTP or HTTPS listener, where unknown hosts and paths get 404, and one for
    each port outside that the gateway leads to.

    `ports` as for `listeners`.
    """
    resources = []
    for listener in view.listeners:
        port = listener.port or bound_port(listener, ports)
        for secure in listener.secure:
            if secure.takes_requests:
                name = secure_gateway.section_name(view.name, secure)
                others = secure_gateway.misdirected(secure)
                resources.append(_route_configuration(name, secure.hosts, port, others))
        if not listener.secure and not listener.tcp:
            name = listener_name(view.name, listener.name)
            resources.append(_route_configuration(name, listener.hosts, port))
    resources += [egress.routes(entry) for entry in view.egress if entry.port.is_http]
    return tuple(resources)


def _route_configuration(
    name: str, views: Iterable[HostView], port: int, more: Iterable[v3.VirtualHost] = ()
) -> Resource:
    hosts = [(host, routes.build_routes(_at_port(host, port), gateway=True)) for host in views]
    virtual_hosts = [_virtual_host(host, built) for host, built in hosts]
    message = v3.RouteConfiguration(
        name=name,
        ignore_port_in_host_matching=True,
        most_specific_header_mutations_wins=routes.MOST_SPECIFIC_HEADERS_WIN,
        response_headers_to_remove=[app_failure.HEADER],
        request_headers_to_add=[edge.client_address()],
        request_headers_to_remove=[probes.HEADER],
        virtual_hosts=authority.checked((*virtual_hosts, *more)),
    )
    clusters = tuple(dict.fromkeys(cluster for _, built in hosts for cluster in built.clusters))
    refs = tuple(dict.fromkeys(ref for _, built in hosts for ref in built.policies))
    return encode(RDS, name, message, required_clusters=clusters, policies=refs)


def _virtual_host(host: HostView, built: routes.BuiltRoutes) -> v3.VirtualHost:
    message = v3.VirtualHost(name=host.name, domains=host.domains, routes=built.routes)
    unused_filters.disable(message, "ingress")
    return message


def _at_port(host: HostView, port: int) -> HostView:
    """The host as clients of a port see it."""
    rules = tuple(rule for rule in host.rules if not rule.only_ports or port in rule.only_ports)
    return replace(host, port=port, rules=rules)
