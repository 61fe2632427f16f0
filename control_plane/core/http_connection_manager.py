"""What all HTTP listeners of the mesh have in common: path hygiene, forwarded certificates, the router.

Routing and policy look at paths, so every listener normalises them alike and refuses escaped slashes
(Envoy's "configuring Envoy as an edge proxy", path normalisation).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from meshwright.control_plane.core import access_log
from meshwright.control_plane.core.views import TelemetryView
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.faultinjection import fault_counter

HCM = v3.HttpConnectionManager

WEBSOCKET = "websocket"

KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT = timedelta(seconds=30), timedelta(seconds=10)
"""A peer that vanished is found out by pings: no idle timeout does it for silent streams."""

HEADERS_TIMEOUT = timedelta(seconds=10)
"""A client that has not sent its headers by then is cut off (slow loris)."""


def ads_source() -> v3.ConfigSource:
    """`from the stream this came by`."""
    return v3.ConfigSource(ads=v3.AggregatedConfigSource(), resource_api_version=v3.ApiVersion.V3)


def connection_manager(
    direction: access_log.ListenerDirection,
    stat_prefix: str,
    route_config: str,
    telemetry: TelemetryView,
    filters: Iterable[v3.HttpFilter] = (),
) -> HCM:
    """An HTTP connection manager whose routes come by RDS under the name `route_config`.

    WebSocket is let through everywhere, and nothing ends a stream that is silent: that is a Timeout's `idle`.
    """
    manager = HCM(
        stat_prefix=stat_prefix,
        rds=v3.Rds(config_source=ads_source(), route_config_name=route_config),
        http_filters=[*filters, http_filter("envoy.filters.http.router", v3.Router())],
        normalize_path=v3.BoolValue(value=True),
        merge_slashes=True,
        path_with_escaped_slashes_action=HCM.REJECT_REQUEST,
        request_headers_timeout=HEADERS_TIMEOUT,
        forward_client_cert_details=HCM.SANITIZE,
        upgrade_configs=[HCM.UpgradeConfig(upgrade_type=WEBSOCKET)],
        http2_protocol_options=http2_options(),
        stream_idle_timeout=timedelta(0),
    )
    if direction != "inbound":
        manager.access_log.append(fault_counter.fault_counter())
    telemetry.spec.patch_hcm(manager, telemetry.service, traced=telemetry.tracing)
    if telemetry.request_log:
        manager.access_log.append(access_log.request_log(direction))
        # So that a caller whose request failed has the name under which to ask why.
        manager.always_set_request_id_in_response = direction != "inbound"
    return manager


def http2_options() -> v3.Http2ProtocolOptions:
    """HTTP/2 for listeners and clusters: WebSocket by extended CONNECT (RFC 8441), dead peers found out."""
    return v3.Http2ProtocolOptions(
        allow_connect=True,
        connection_keepalive=v3.KeepaliveSettings(interval=KEEPALIVE_INTERVAL, timeout=KEEPALIVE_TIMEOUT),
    )


def fault_filter() -> v3.HttpFilter:
    """The filter that FaultInjection configures by route; on its own it does nothing."""
    return http_filter("envoy.filters.http.fault", v3.HTTPFault())


def grpc_stats_filter() -> v3.HttpFilter:
    """Counts the final status of each gRPC call by its cluster (`cluster.NAME.grpc.14`).

    Failed calls are HTTP 200, which no other statistic tells from success.
    """
    return http_filter("envoy.filters.http.grpc_stats", v3.GrpcStats())


def http_filter(name: str, config: v3.Router | v3.OnDemand | v3.HTTPFault | v3.GrpcStats) -> v3.HttpFilter:
    """A named HTTP filter with its configuration."""
    return v3.HttpFilter(name=name, typed_config=codec.pack(config))


def network_filter(manager: HCM) -> v3.Filter:
    """The connection manager as a network filter."""
    return v3.Filter(name="envoy.filters.network.http_connection_manager", typed_config=codec.pack(manager))


def listener(name: str, address: str, port: int, chains: Iterable[v3.FilterChain]) -> v3.Listener:
    """A TCP listener. Without reuse_port a second Envoy on the same port fails instead of sharing it."""
    return v3.Listener(
        name=name,
        address=v3.Address(socket_address=v3.SocketAddress(address=address, port_value=port)),
        filter_chains=chains,
        enable_reuse_port=v3.BoolValue(value=False),
        per_connection_buffer_limit_bytes=v3.UInt32Value(value=BUFFER_LIMIT),
    )


BUFFER_LIMIT = 1 << 20
"""Bytes Envoy buffers a connection before it pushes back: Envoy's default, written down."""
