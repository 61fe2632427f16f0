"""NodeView → what a service's own sidecars listen on: mTLS ends here, the application is called on loopback.

Routes travel separately (RDS): a changed listener drains its connections, a changed route does not.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.api.models.instances import Port
from meshwright.control_plane.core import (
    access_log,
    client_certificates,
    connection_filters,
    http2,
    probe_route,
    reply_reasons,
    shared_filters,
    tcp,
    tls,
    unused_filters,
)
from meshwright.control_plane.core import http_connection_manager as http
from meshwright.control_plane.core.attachment import hooks_of, refs_of
from meshwright.control_plane.core.connection_filters import ConnectionPoint
from meshwright.control_plane.core.resource import LDS, RDS, Resource, encode
from meshwright.control_plane.core.views import ListenerSettings, NodeView, default_port
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.hooks import TransportMode
from meshwright.control_plane.policies.httproute import mirrored
from meshwright.control_plane.policies.retry import app_failure

LISTENER = "inbound"

HOP_BY_HOP_RESPONSE_HEADERS = ("te",)
"""A response has no use for it, some apps send it, and HTTP/2 does not carry it (RFC 9113, section 8.2.2).
Envoy removes the others of its kind."""


def listeners(
    view: NodeView,
    address: str,
    port: int,
    *,
    tracing: bool = False,
    request_log: bool = False,
    span_log: bool = False,
) -> tuple[Resource, ...]:
    """The inbound listener: one filter chain per port, selected by SNI; the default port needs none.

    Plaintext names no port, so only the default port accepts it, and the others keep mutual TLS. A service
    without ports has no listener: Envoy rejects one without filter chains.
    """
    default = default_port(view.ports)
    settings = replace(view.settings, tracing=tracing, request_log=request_log, span_log=span_log)
    chains: list[v3.FilterChain] = []
    for service_port in view.ports:
        # Even if disabled it is accepted, since callers change at different moments; but not at a tcp port,
        # whose app may speak TLS itself.
        is_bare = view.mode is TransportMode.DISABLED and service_port.protocol == "tcp"
        if service_port != default or not is_bare:
            chains.append(_chain(view, settings, service_port, plaintext=False))
        if view.mode is not TransportMode.STRICT and service_port == default:
            chains.append(_chain(view, settings, service_port, plaintext=True))
    if not chains:
        return ()
    message = http.listener(LISTENER, address, port, chains)
    if request_log:
        message.access_log.append(access_log.handshake_log("inbound"))
    inspector = v3.ListenerFilter(
        name="envoy.filters.listener.tls_inspector", typed_config=codec.pack(v3.TlsInspector())
    )
    if any(chain.HasField("transport_socket") for chain in chains):
        message.listener_filters.append(inspector)
    plaintext_tcp = default and default.protocol == "tcp" and view.mode is not TransportMode.STRICT
    if plaintext_tcp and message.listener_filters:
        message.listener_filters_timeout.FromTimedelta(tcp.TLS_INSPECTION_TIMEOUT)
        message.continue_on_listener_filters_timeout = True
    refs = (*refs_of(view.policies), *settings.refs)
    clusters = settings.required_clusters
    return (encode(LDS, LISTENER, message, required_clusters=clusters, policies=refs),)


def _chain(view: NodeView, settings: ListenerSettings, port: Port, *, plaintext: bool) -> v3.FilterChain:
    default = default_port(view.ports)
    # With mutual TLS disabled even the mesh's own sidecars call in plaintext, many calls to a connection.
    strangers = plaintext and view.mode is TransportMode.PERMISSIVE
    match = v3.FilterChainMatch(transport_protocol="raw_buffer" if plaintext else "tls")
    if not plaintext and (port != default or port.protocol == "tcp"):
        match.server_names.append(tls.sni(settings.owner, port.name))
    chain = v3.FilterChain(
        name=f"{port.name}-{'plaintext' if plaintext else 'mtls'}",
        filter_chain_match=match,
        filters=[
            *connection_filters.filters(port.name),
            tcp.app_filter(port.name, request_log=settings.request_log),
        ]
        if port.protocol == "tcp"
        else [_http_filter(view, settings, port, default, strangers=strangers)],
    )
    if not plaintext:
        alpn = () if port.protocol == "tcp" else tls.ALPN
        chain.transport_socket.CopyFrom(tls.downstream_socket(alpn))
    return chain


def _http_filter(
    view: NodeView, settings: ListenerSettings, port: Port, default: Port | None, *, strangers: bool
) -> v3.Filter:
    if strangers:
        # Their requests may start a trace here. Those of the mesh carry the decision of the caller's proxy.
        settings = replace(settings, span_log=False)
    manager = http.connection_manager("inbound", LISTENER, route_name(port, default), settings)
    if strangers:
        manager.http2_protocol_options.CopyFrom(http2.towards_clients())
    client_certificates.say_who_calls(manager, view.trust_domain)
    _say_how_the_app_failed(manager.local_reply_config)
    return http.network_filter(manager)


def _say_how_the_app_failed(replies: v3.LocalReplyConfig) -> None:
    """Add the mappers that come first: Envoy applies one mapper only, and these also name the failure."""
    failure = app_failure.reply_mapper()
    invalid = reply_reasons.mapper(reply_reasons.INVALID_RESPONSE)
    invalid.headers_to_add.extend(failure.headers_to_add)
    rest = list(replies.mappers)
    del replies.mappers[:]
    replies.mappers.extend((invalid, failure, *rest))


def route_name(port: Port, default: Port | None) -> str:
    """`in`, or `in:grpc` for a port other than the default one."""
    return "in" if port == default else f"in:{port.name}"


def filters(view: NodeView) -> tuple[Resource, ...]:
    """The filters whose configuration travels by itself."""
    connections = connection_filters.resources(_connection_points(view))
    return (*shared_filters.resources("inbound", view.filters), *connections)


def _connection_points(view: NodeView) -> tuple[ConnectionPoint, ...]:
    """The TCP ports with the policies in force there."""
    return tuple(
        ConnectionPoint(port.name, policies=view.policies) for port in view.ports if port.protocol == "tcp"
    )


def routes(view: NodeView) -> tuple[Resource, ...]:
    """Each port's route to the application, a cluster of the bootstrap. No timeout: the caller has one."""
    default = default_port(view.ports)
    refs = refs_of(view.policies)
    clusters = tuple(dict.fromkeys(name for policy in view.policies for name in policy.hooks.dependencies()))
    resources = []
    for port in view.ports:
        if port.protocol == "tcp":
            continue
        route = v3.Route(
            name="app",
            match=v3.RouteMatch(prefix="/"),
            route=v3.RouteAction(cluster=cluster_names.app_cluster(port.name), timeout=timedelta(0)),
        )
        built = [route]
        for hooks in hooks_of(view.policies):
            built = [split for patched in built for split in hooks.patch_inbound_route(patched)]
        host = v3.VirtualHost(
            name="app",
            domains=["*"],
            routes=[
                copy
                for patched in built
                for copy in (*probe_route.answered(patched), mirrored.restored(patched), patched)
            ],
            request_headers_to_remove=mirrored.HEADERS,
        )
        unused_filters.disable(host, "inbound")
        name = route_name(port, default)
        message = v3.RouteConfiguration(
            name=name,
            virtual_hosts=[host],
            response_headers_to_remove=(*HOP_BY_HOP_RESPONSE_HEADERS, app_failure.HEADER),
        )
        resources.append(encode(RDS, name, message, required_clusters=clusters, policies=refs))
    return tuple(resources)
