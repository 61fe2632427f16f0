"""The request log: what every proxy reports about requests, as OTLP log records over mutual TLS.

Failed, refused and slow requests always, all of them while the runtime key `mesh.tap` is on. The access log
that a Telemetry policy controls is another one: with that one off, `mesh why` still works.
"""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.api.resource_metadata import METADATA_KEY
from meshwright.control_plane.core import reply_reasons
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.hooks import ListenerDirection
from meshwright.control_plane.policies.server_errors import grpc_refusal_filter, server_error_filter

LOG_NAME = "requests"

TAP_RUNTIME_KEY = "mesh.tap"
"""Percent of all requests to report besides the failed and slow ones."""

SLOW_REQUEST = timedelta(seconds=1)
"""Requests that take this long are reported like failed ones."""

CLIENT_ERROR = 400

FLUSH_INTERVAL, BUFFER_BYTES = timedelta(milliseconds=500), 16 * 1024
"""Records are sent after this time, or as soon as this many bytes are buffered."""

EXPORT_TIMEOUT = timedelta(seconds=1)
"""A batch that takes longer is dropped: requests never wait for their log records."""

REQUEST_FIELDS = {
    "method": "%REQ(:METHOD)%",
    "host": "%REQ(:AUTHORITY)%",
    "path": "%PATH(NQ)%",
    "status": "%RESPONSE_CODE%",
    "grpc_status": "%GRPC_STATUS%",
    "content_type": "%REQ(CONTENT-TYPE)%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "duration_ms": "%DURATION%",
    "duration_us": "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "peer": "%DOWNSTREAM_PEER_URI_SAN%",
    "upstream": "%UPSTREAM_CLUSTER%",
    "upstream_host": "%UPSTREAM_HOST%",
    "route": "%ROUTE_NAME%",
    "policies": f"%METADATA(ROUTE:{METADATA_KEY}:policies)%",
    "trace": "%TRACE_ID%",
    "parent": "%REQ(TRACEPARENT)%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "fallback_id": reply_reasons.FALLBACK_ID,
}
"""The attributes of a record; its time is the request's start. The query is left out: it may hold secrets.

`duration_us` is DURATION with more digits, from the first byte of the request to the last byte of the
response. Where the response was not sent in full (the caller disconnected, a TCP connection) Envoy writes
`-`.
"""

_SHARED_FIELDS = ("flags", "failure", "duration_ms", "attempts", "peer", "upstream", "upstream_host")

REFUSED_CONNECTION = "connection.termination_details.startsWith('rbac_access_denied')"
"""A CEL expression: an Authorization refused the connection, which has no response flag."""

CONNECTION_FIELDS = {
    "method": "TCP",
    "details": "%CONNECTION_TERMINATION_DETAILS%",
    **{name: REQUEST_FIELDS[name] for name in _SHARED_FIELDS},
}
"""The attributes of a record of a TCP connection."""

HANDSHAKE_REFUSED = "handshake_refused"
"""The details of a record of a connection that never became one."""

HANDSHAKE_FIELDS = {
    "method": "TCP",
    "details": HANDSHAKE_REFUSED,
    "failure": "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%",
    "peer": "%DOWNSTREAM_PEER_URI_SAN%",
    "address": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
    "server_name": "%REQUESTED_SERVER_NAME%",
}
"""The attributes of a record of a refused handshake. `peer` is what the certificate says, unproven."""

TERMINATION = "termination"
"""The attribute that says why a connection ended whose handshake was not refused."""

_HANDSHAKE_FAILED = (
    "has(connection.transport_failure_reason) || response.code_details == 'filter_chain_not_found'"
)
# CEL; no filter chain matches plaintext at a port that requires TLS. Measured with Envoy 1.40.


@lru_cache(maxsize=16)
def request_log(direction: ListenerDirection) -> v3.AccessLog:
    """The access log of a connection manager."""
    slow = v3.ComparisonFilter(
        op=v3.ComparisonFilter.GE,
        value=v3.RuntimeUInt32(
            default_value=SLOW_REQUEST // timedelta(milliseconds=1), runtime_key="mesh.slow_ms"
        ),
    )
    failed = [server_error_filter(), _any_flag()]
    slow_filter = v3.AccessLogFilter(duration_filter=v3.DurationFilter(comparison=slow))
    filters = [*failed, slow_filter, _tapped(), _refused()]
    return otlp_access_log(LOG_NAME, {"direction": direction, **REQUEST_FIELDS}, any_of(filters))


@lru_cache(maxsize=256)
def connection_log(direction: ListenerDirection, listener: str = "") -> v3.AccessLog:
    """The access log of a TCP proxy: connections that failed or were refused.

    `listener` is that of a gateway, and the route of its connections: policies may target it alone.
    """
    filters = [_any_flag(), _tapped()]
    if direction != "outbound":
        filters.append(reply_reasons.matches(REFUSED_CONNECTION))
    fields = {"direction": direction, **CONNECTION_FIELDS, **({"route": listener} if listener else {})}
    return otlp_access_log(LOG_NAME, fields, any_of(filters))


@lru_cache(maxsize=2)
def handshake_log(direction: ListenerDirection) -> v3.AccessLog:
    """The access log of a listener: connections without the TLS that it requires."""
    fields = {"direction": direction, **HANDSHAKE_FIELDS}
    return otlp_access_log(LOG_NAME, fields, reply_reasons.matches(_HANDSHAKE_FAILED))


@lru_cache(maxsize=1)
def egress_log() -> v3.AccessLog:
    """The same for a gateway that leads outside, with callers that it does not admit."""
    fields = {"direction": "ingress", **HANDSHAKE_FIELDS, TERMINATION: CONNECTION_FIELDS["details"]}
    return otlp_access_log(
        LOG_NAME, fields, reply_reasons.matches(f"{_HANDSHAKE_FAILED} || {REFUSED_CONNECTION}")
    )


def any_of(filters: list[v3.AccessLogFilter]) -> v3.AccessLogFilter:
    """Accepts what one of the filters accepts."""
    return v3.AccessLogFilter(or_filter=v3.OrFilter(filters=filters))


def _any_flag() -> v3.AccessLogFilter:
    return v3.AccessLogFilter(response_flag_filter=v3.ResponseFlagFilter())


def _refused() -> v3.AccessLogFilter:
    """4xx that the proxy itself responded, and its refusals of gRPC calls, whose HTTP status is 200.

    The expression is evaluated last, and only for these statuses.
    """
    client_error = v3.ComparisonFilter(
        op=v3.ComparisonFilter.GE,
        value=v3.RuntimeUInt32(default_value=CLIENT_ERROR, runtime_key="mesh.refused_status"),
    )
    statuses = [
        v3.AccessLogFilter(status_code_filter=v3.StatusCodeFilter(comparison=client_error)),
        grpc_refusal_filter(),
    ]
    local = reply_reasons.matches(reply_reasons.OWN_RESPONSE)
    return v3.AccessLogFilter(and_filter=v3.AndFilter(filters=[any_of(statuses), local]))


def _tapped() -> v3.AccessLogFilter:
    return v3.AccessLogFilter(
        runtime_filter=v3.RuntimeFilter(
            runtime_key=TAP_RUNTIME_KEY,
            percent_sampled=v3.FractionalPercent(numerator=0, denominator=v3.FractionalPercent.HUNDRED),
            use_independent_randomness=True,
        )
    )


def otlp_access_log(name: str, fields: dict[str, str], accepted: v3.AccessLogFilter) -> v3.AccessLog:
    """A log that sends what the filter accepts to the control plane."""
    receiver = v3.GrpcService(
        envoy_grpc=v3.GrpcService.EnvoyGrpc(cluster_name=cluster_names.TELEMETRY), timeout=EXPORT_TIMEOUT
    )
    config = v3.OpenTelemetryAccessLogConfig(
        grpc_service=receiver,
        log_name=name,
        buffer_flush_interval=FLUSH_INTERVAL,
        buffer_size_bytes=v3.UInt32Value(value=BUFFER_BYTES),
    )
    for key, value in fields.items():
        config.attributes.values.add(key=key).value.string_value = value
    return v3.AccessLog(
        name="envoy.access_loggers.open_telemetry",
        filter=accepted,
        typed_config=codec.pack(config),
    )
