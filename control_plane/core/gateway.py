"""GatewayView → the ingress: listeners that face users, and routes into the mesh.

The settings follow Envoy's "configuring Envoy as an edge proxy": the client's address is the connection's
(`x-envoy-external-address`, and the last of `x-forwarded-for`, to which it is appended), what else a client
may forge is dropped, streams and windows are bounded.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from meshwright.control_plane.core import http_connection_manager, routes
from meshwright.control_plane.core.resource import LDS, RDS, Resource, encode
from meshwright.control_plane.core.views import GatewayView, ListenerView, TelemetryView
from meshwright.control_plane.envoy import v3

MAX_CONCURRENT_STREAMS, STREAM_WINDOW, CONNECTION_WINDOW = 100, 1 << 16, 1 << 20
IDLE_TIMEOUT = timedelta(hours=1)
"""Silence that ends a stream or a connection: a stranger holds no memory for ever."""

UNTRUSTED_HEADERS = (
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
    view: GatewayView,
    address: str,
    ports: dict[str, int],
    *,
    tracing: bool = False,
    request_log: bool = False,
) -> tuple[Resource, ...]:
    """The listeners of one proxy; `ports` is where the node says it binds them, by listener name."""
    told = replace(view.telemetry, tracing=tracing, request_log=request_log)
    return tuple(_listener(view, told, one, address, ports.get(one.name, one.port)) for one in view.listeners)


def _listener(
    gateway: GatewayView, told: TelemetryView, view: ListenerView, address: str, port: int
) -> Resource:
    name = listener_name(gateway.name, view.name)
    manager = http_connection_manager.connection_manager(
        "ingress",
        "ingress",
        name,
        told,
        [http_connection_manager.grpc_stats_filter(), http_connection_manager.fault_filter()],
    )
    manager.use_remote_address.value = True
    manager.common_http_protocol_options.CopyFrom(
        v3.CommonHttpProtocolOptions(
            idle_timeout=IDLE_TIMEOUT,
            headers_with_underscores_action=v3.CommonHttpProtocolOptions.REJECT_REQUEST,
        )
    )
    manager.stream_idle_timeout.FromTimedelta(IDLE_TIMEOUT)
    manager.http2_protocol_options.MergeFrom(
        v3.Http2ProtocolOptions(
            max_concurrent_streams=v3.UInt32Value(value=MAX_CONCURRENT_STREAMS),
            initial_stream_window_size=v3.UInt32Value(value=STREAM_WINDOW),
            initial_connection_window_size=v3.UInt32Value(value=CONNECTION_WINDOW),
        )
    )
    chain = v3.FilterChain(filters=[http_connection_manager.network_filter(manager)])
    refs = (*((gateway.document,) if gateway.document else ()), *told.refs)
    return encode(LDS, name, http_connection_manager.listener(name, address, port, [chain]), policies=refs)


def route_configurations(view: GatewayView) -> tuple[Resource, ...]:
    """One route configuration a listener; unknown hosts and paths get 404."""
    found = []
    for one in view.listeners:
        name = listener_name(view.name, one.name)
        built = [(host, routes.build_routes(host)) for host in one.hosts]
        message = v3.RouteConfiguration(
            name=name,
            ignore_port_in_host_matching=True,
            most_specific_header_mutations_wins=routes.MOST_SPECIFIC_HEADERS_WIN,
            request_headers_to_remove=UNTRUSTED_HEADERS,
            virtual_hosts=[
                v3.VirtualHost(name=host.name, domains=host.domains, routes=each.routes)
                for host, each in built
            ],
        )
        needs = tuple(dict.fromkeys(cluster for _, each in built for cluster in each.clusters))
        refs = tuple(dict.fromkeys(ref for _, each in built for ref in each.policies))
        found.append(encode(RDS, name, message, required_clusters=needs, policies=refs))
    return tuple(found)
