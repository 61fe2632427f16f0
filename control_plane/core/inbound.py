"""NodeView → what a service's own sidecars listen on: mTLS ends here, the app is called on loopback.

Routes travel apart (RDS), since a changed listener drains its connections and a changed route does not.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.api.models.instances import Port
from meshwright.control_plane.core import http_connection_manager, tcp, tls
from meshwright.control_plane.core.resource import LDS, RDS, Resource, encode
from meshwright.control_plane.core.views import NodeView, TelemetryView, default_port
from meshwright.control_plane.envoy import codec, v3

LISTENER = "inbound"


def listeners(
    view: NodeView, address: str, port: int, *, tracing: bool = False, request_log: bool = False
) -> tuple[Resource, ...]:
    """The inbound listener: one filter chain a port, told apart by SNI; the default port needs none.

    Plaintext names no port, so only the default one takes it, and the others keep mutual TLS. Without a port
    there is nothing to listen for, and Envoy refuses a listener without chains.
    """
    first = default_port(view.ports)
    told = replace(view.telemetry, tracing=tracing, request_log=request_log)
    chains: list[v3.FilterChain] = []
    for one in view.ports:
        if view.mode != "Disabled" or one != first:
            chains.append(_chain(told, one, first, plaintext=False))
        if view.mode != "Strict" and one == first:
            chains.append(_chain(told, one, first, plaintext=True))
    if not chains:
        return ()
    message = http_connection_manager.listener(LISTENER, address, port, chains)
    inspector = v3.ListenerFilter(
        name="envoy.filters.listener.tls_inspector", typed_config=codec.pack(v3.TlsInspector())
    )
    if any(one.HasField("transport_socket") for one in chains):
        message.listener_filters.append(inspector)
    if first and first.protocol == "tcp" and view.mode != "Strict" and message.listener_filters:
        message.listener_filters_timeout.FromTimedelta(tcp.TLS_INSPECTION_TIMEOUT)
        message.continue_on_listener_filters_timeout = True
    refs = (*(one.ref for one in view.policies), *told.refs)
    return (encode(LDS, LISTENER, message, policies=refs),)


def _chain(told: TelemetryView, port: Port, first: Port | None, *, plaintext: bool) -> v3.FilterChain:
    match = v3.FilterChainMatch(transport_protocol="raw_buffer" if plaintext else "tls")
    if not plaintext and (port != first or port.protocol == "tcp"):
        match.server_names.append(tls.sni(told.service, port.name))
    chain = v3.FilterChain(
        name=f"{port.name}-{'plaintext' if plaintext else 'mtls'}",
        filter_chain_match=match,
        filters=[
            tcp.app_filter(port.name, request_log=told.request_log)
            if port.protocol == "tcp"
            else _http_filter(told, port, first)
        ],
    )
    if not plaintext:
        alpn = () if port.protocol == "tcp" else tls.ALPN
        chain.transport_socket.CopyFrom(tls.downstream_socket(alpn))
    return chain


def _http_filter(told: TelemetryView, port: Port, first: Port | None) -> v3.Filter:
    manager = http_connection_manager.connection_manager("inbound", LISTENER, route_name(port, first), told)
    manager.forward_client_cert_details = http_connection_manager.HCM.SANITIZE_SET
    manager.set_current_client_cert_details.uri = True
    return http_connection_manager.network_filter(manager)


def route_name(port: Port, first: Port | None) -> str:
    """`in`, or `in:grpc` for a port other than the default one."""
    return "in" if port == first else f"in:{port.name}"


def routes(view: NodeView) -> tuple[Resource, ...]:
    """Each port's way to the app, a cluster of the sidecar's bootstrap. No timeout: the caller has one."""
    first = default_port(view.ports)
    found = []
    for port in view.ports:
        if port.protocol == "tcp":
            continue
        route = v3.Route(
            name="app",
            match=v3.RouteMatch(prefix="/"),
            route=v3.RouteAction(cluster=cluster_names.app_cluster(port.name), timeout=timedelta(0)),
        )
        for bound in view.policies:
            bound.spec.patch_inbound_route(route)
        host = v3.VirtualHost(name="app", domains=["*"], routes=[route])
        name = route_name(port, first)
        message = v3.RouteConfiguration(name=name, virtual_hosts=[host])
        refs = tuple(one.ref for one in view.policies)
        found.append(encode(RDS, name, message, policies=refs))
    return tuple(found)
