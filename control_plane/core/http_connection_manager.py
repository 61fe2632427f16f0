"""What all HTTP listeners of the mesh have in common: protocol options, client certificates, filters.

Requests and responses pass as the apps wrote them: paths, methods, trailers, `server`, `expect` and request
IDs are not touched. Only gateways normalise paths (gateway.py). What is refused has a reason in its body
(reply_reasons.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from functools import lru_cache

from meshwright.control_plane.api import header_limits
from meshwright.control_plane.core import (
    access_log,
    external,
    http1,
    http2,
    limited_requests,
    local_replies,
    reply_reasons,
    resource,
    route_statistics,
    shared_filters,
    span_log,
)
from meshwright.control_plane.core.views import ListenerSettings
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies import hook_registry
from meshwright.control_plane.policies.hooks import (
    FilterEntry,
    FilterPhase,
    ListenerContext,
    ListenerDirection,
)

HCM = v3.HttpConnectionManager

HEADERS_TIMEOUT = timedelta(seconds=10)
"""A client that has not sent its headers by then is disconnected (slow loris)."""

ODCDS_TIMEOUT = timedelta(seconds=3)

_GRPC_STATISTICS = "envoy.filters.http.grpc_stats"

BUFFER_LIMIT = 1 << 20
"""Bytes that Envoy buffers per connection before it applies back pressure: Envoy's default, stated."""


def connection_manager(
    direction: ListenerDirection, stat_prefix: str, route_config: str, settings: ListenerSettings
) -> HCM:
    """An HTTP connection manager whose routes come by RDS under the name `route_config`.

    WebSocket is allowed everywhere, and silent streams stay open: a Timeout's `idle` ends them.
    """
    manager = HCM(
        stat_prefix=stat_prefix,
        rds=v3.Rds(config_source=resource.ads_source(), route_config_name=route_config),
        http_filters=_http_filters(direction, logs_spans=settings.logs_spans),
        request_headers_timeout=HEADERS_TIMEOUT,
        forward_client_cert_details=HCM.SANITIZE,
        upgrade_configs=[HCM.UpgradeConfig(upgrade_type=http1.WEBSOCKET)],
        http_protocol_options=http1.options(any_method=direction != "ingress"),
        http2_protocol_options=(
            http2.towards_clients() if direction == "ingress" else http2.between_sidecars()
        ),
        stream_idle_timeout=timedelta(0),
        proxy_100_continue=True,
        server_header_transformation=HCM.PASS_THROUGH,
        request_id_extension=_request_id(),
        local_reply_config=reply_reasons.local_replies(direction),
        # A caller whose request failed needs the ID to ask why. Inbound, the caller's sidecar sets it.
        always_set_request_id_in_response=direction != "inbound",
    )
    inside = direction == "inbound"
    headers = header_limits.MAX_HEADERS_INSIDE if inside else header_limits.MAX_HEADERS
    manager.common_http_protocol_options.max_headers_count.value = headers
    manager.max_request_headers_kb.value = header_limits.MAX_KIB_INSIDE if inside else header_limits.MAX_KIB
    if direction != "inbound":
        manager.access_log.extend((*local_replies.access_logs(), route_statistics.access_log()))
    manager.access_log.extend(limited_requests.access_logs())
    tracing = settings.tracing and not (settings.logs_spans and direction == "inbound")
    context = ListenerContext(direction, settings.owner, tracing, attempts=not settings.logs_spans)
    for policy in settings.policies:
        policy.hooks.patch_listener(manager, context)
    if settings.request_log:
        manager.access_log.append(access_log.request_log(direction))
    if settings.logs_spans and direction == "inbound":
        manager.access_log.append(span_log.server_log())
    return manager


def _request_id() -> v3.RequestIDExtension:
    """Request IDs without Envoy's mark of how a trace started, which would change the IDs of apps."""
    no = v3.BoolValue(value=False)
    config = v3.UuidRequestIdConfig(pack_trace_reason=no, use_request_id_for_trace_sampling=no)
    return v3.RequestIDExtension(typed_config=codec.pack(config))


@lru_cache(maxsize=6)
def _http_filters(direction: ListenerDirection, *, logs_spans: bool) -> tuple[v3.HttpFilter, ...]:
    """The core's own filters and those of all kinds, in the order of their phases."""
    entries = (*_core_filters(direction, logs_spans=logs_spans), *hook_registry.http_filters(direction))
    filters = [
        (phase, v3.HttpFilter(name=name, typed_config=codec.pack(config))) for phase, name, config in entries
    ]
    filters += [
        (phase, v3.HttpFilter(name=name, typed_config=codec.pack(config), disabled=True))
        for phase, name, config in hook_registry.route_filters(direction)
    ]
    filters += shared_filters.http_filters(direction)
    return tuple(entry for _, entry in sorted(filters, key=lambda item: (item[0], item[1].name)))


def _core_filters(direction: ListenerDirection, *, logs_spans: bool) -> Iterable[FilterEntry]:
    if direction == "outbound":
        on_demand = v3.OnDemand(odcds=v3.OnDemandCds(source=resource.ads_source(), timeout=ODCDS_TIMEOUT))
        yield FilterPhase.DISCOVERY, "envoy.filters.http.on_demand", on_demand
        yield from external.filters()
    if direction != "inbound":
        # Counts the final status of each gRPC call by cluster (`cluster.NAME.grpc.14`): failed calls are
        # HTTP 200, and no other statistic tells them from successful ones.
        yield FilterPhase.STATISTICS, _GRPC_STATISTICS, v3.GrpcStats()
    if direction != "outbound":
        yield FilterPhase.HEADERS, http1.TRAILERS, http1.without_request_trailers()
    attempts = [span_log.attempt_log()] if logs_spans and direction != "inbound" else []
    router = v3.Router(suppress_envoy_headers=True, upstream_log=attempts)
    yield FilterPhase.ROUTER, "envoy.filters.http.router", router


@lru_cache(maxsize=1)
def without_grpc_statistics() -> dict[str, v3.Any]:
    """`typed_per_filter_config` of virtual hosts whose port is not one for gRPC.

    The filter costs 2 % of the CPU of a request (bench.overhead). What a proxy responds itself to a gRPC call
    of such a port is counted by the status that it has in HTTP.
    """
    return {_GRPC_STATISTICS: codec.pack(v3.RouteFilterConfig(disabled=True))}


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
