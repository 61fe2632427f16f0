"""GatewayView → the ingress: listeners that face users, and routes into the mesh.

The settings follow Envoy's "configuring Envoy as an edge proxy": the client's address is the connection's
(`x-envoy-external-address`, and the last of `x-forwarded-for`, to which it is appended), what else a client
may forge is dropped, streams and windows are bounded.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from control_plane.core import http, routes
from control_plane.core.resource import LDS, RDS, Resource, encode
from control_plane.core.view import GatewayView, ListenerView, ToldView
from control_plane.envoy import v3

STREAMS, STREAM_WINDOW, CONNECTION_WINDOW = 100, 1 << 16, 1 << 20
IDLE = timedelta(hours=1)
"""Silence that ends a stream or a connection: a stranger holds no memory for ever."""

FORGEABLE = (
    "forwarded",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-envoy-attempt-count",
)
"""Headers of requests that only a proxy before the ingress could truly set, and there is none. Envoy itself
overwrites or drops the rest: x-forwarded-proto, x-forwarded-client-cert, and what steers its router."""


def listener_name(gateway: str, listener: str) -> str:
    """`ingress` for the listener called http, `ingress/admin` for one called admin."""
    return gateway if listener == "http" else f"{gateway}/{listener}"


def listeners(
    view: GatewayView, address: str, ports: dict[str, int], *, traced: bool = False, heard: bool = False
) -> tuple[Resource, ...]:
    """The listeners of one proxy; `ports` is where the node says it binds them, by listener name."""
    told = replace(view.told, traced=traced, heard=heard)
    return tuple(_listener(view, told, one, address, ports.get(one.name, one.port)) for one in view.listeners)


def _listener(gateway: GatewayView, told: ToldView, view: ListenerView, address: str, port: int) -> Resource:
    name = listener_name(gateway.name, view.name)
    manager = http.connection_manager("ingress", "ingress", name, told, [http.grpc_stats(), http.fault()])
    manager.use_remote_address.value = True
    manager.common_http_protocol_options.CopyFrom(
        v3.CommonHttpProtocolOptions(
            idle_timeout=IDLE,
            headers_with_underscores_action=v3.CommonHttpProtocolOptions.REJECT_REQUEST,
        )
    )
    manager.stream_idle_timeout.FromTimedelta(IDLE)
    manager.http2_protocol_options.MergeFrom(
        v3.Http2ProtocolOptions(
            max_concurrent_streams=v3.UInt32Value(value=STREAMS),
            initial_stream_window_size=v3.UInt32Value(value=STREAM_WINDOW),
            initial_connection_window_size=v3.UInt32Value(value=CONNECTION_WINDOW),
        )
    )
    chain = v3.FilterChain(filters=[http.network_filter(manager)])
    refs = (*((gateway.document,) if gateway.document else ()), *told.refs)
    return encode(LDS, name, http.listener(name, address, port, [chain]), policies=refs)


def route_configurations(view: GatewayView) -> tuple[Resource, ...]:
    """One route configuration a listener; unknown hosts and paths get 404."""
    found = []
    for one in view.listeners:
        name = listener_name(view.name, one.name)
        built = [(host, routes.build(host)) for host in one.hosts]
        message = v3.RouteConfiguration(
            name=name,
            ignore_port_in_host_matching=True,
            most_specific_header_mutations_wins=routes.NARROW_HEADERS_WIN,
            request_headers_to_remove=FORGEABLE,
            virtual_hosts=[
                v3.VirtualHost(name=host.name, domains=host.domains, routes=each.routes)
                for host, each in built
            ],
        )
        needs = tuple(dict.fromkeys(cluster for _, each in built for cluster in each.clusters))
        refs = tuple(dict.fromkeys(ref for _, each in built for ref in each.policies))
        found.append(encode(RDS, name, message, needs=needs, policies=refs))
    return tuple(found)
