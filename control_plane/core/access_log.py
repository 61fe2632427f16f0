"""What every proxy tells the control plane of requests: OTLP log records over mutual TLS, under its identity.

Failed and slow requests always, all of them while the runtime key `mesh.tap` is on. It stands beside the log
that a Telemetry policy speaks of and is not steered by it: who turns that off can still ask why.
"""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from typing import Literal

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.core.routes import METADATA_KEY
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.telemetry import envoy

ListenerDirection = Literal["inbound", "outbound", "ingress"]

TAP_RUNTIME_KEY = "mesh.tap"
"""The runtime key: percent of all requests that are told beside the failed and slow ones."""

SLOW_REQUEST = timedelta(seconds=1)
"""A request that takes so long is told as a failed one is."""

FLUSH_INTERVAL, BUFFER_BYTES = timedelta(milliseconds=500), 16 * 1024
"""Records leave after half a second, or as soon as there are so many bytes of them."""

EXPORT_TIMEOUT = timedelta(seconds=1)
"""A batch that takes longer is given up: requests never wait for being told."""

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
    "request_id": "%REQ(X-REQUEST-ID)%",
}
"""What a record tells; its time is the request's start. The query is left out: it may hold secrets.

The microseconds are DURATION in more digits, from the first byte of the request to the last of its answer;
where no answer was sent to its end (the caller left, a TCP connection) Envoy writes `-` for them.
"""

_SHARED_FIELDS = ("flags", "failure", "duration_ms", "attempts", "peer", "upstream", "upstream_host")

CONNECTION_FIELDS = {
    "method": "TCP",
    "details": "%CONNECTION_TERMINATION_DETAILS%",
    **{name: REQUEST_FIELDS[name] for name in _SHARED_FIELDS},
}
"""What a record of a TCP connection tells."""


@lru_cache(maxsize=16)
def request_log(direction: ListenerDirection) -> v3.AccessLog:
    """The access log of a connection manager."""
    slow = v3.ComparisonFilter(
        op=v3.ComparisonFilter.GE,
        value=v3.RuntimeUInt32(
            default_value=SLOW_REQUEST // timedelta(milliseconds=1), runtime_key="mesh.slow_ms"
        ),
    )
    failed = [envoy.server_error_filter(), _any_flag()]
    filters = [*failed, v3.AccessLogFilter(duration_filter=v3.DurationFilter(comparison=slow)), _tapped()]
    return _otlp_access_log(direction, REQUEST_FIELDS, filters)


@lru_cache(maxsize=16)
def connection_log(direction: ListenerDirection) -> v3.AccessLog:
    """The access log of a TCP proxy: connections that failed."""
    return _otlp_access_log(direction, CONNECTION_FIELDS, [_any_flag(), _tapped()])


def _any_flag() -> v3.AccessLogFilter:
    return v3.AccessLogFilter(response_flag_filter=v3.ResponseFlagFilter())


def _tapped() -> v3.AccessLogFilter:
    return v3.AccessLogFilter(
        runtime_filter=v3.RuntimeFilter(
            runtime_key=TAP_RUNTIME_KEY,
            percent_sampled=v3.FractionalPercent(numerator=0, denominator=v3.FractionalPercent.HUNDRED),
            use_independent_randomness=True,
        )
    )


def _otlp_access_log(
    direction: ListenerDirection, fields: dict[str, str], filters: list[v3.AccessLogFilter]
) -> v3.AccessLog:
    receiver = v3.GrpcService(
        envoy_grpc=v3.GrpcService.EnvoyGrpc(cluster_name=cluster_names.TELEMETRY), timeout=EXPORT_TIMEOUT
    )
    config = v3.OpenTelemetryAccessLogConfig(
        grpc_service=receiver,
        log_name="requests",
        buffer_flush_interval=FLUSH_INTERVAL,
        buffer_size_bytes=v3.UInt32Value(value=BUFFER_BYTES),
    )
    for name, value in {"direction": direction, **fields}.items():
        config.attributes.values.add(key=name).value.string_value = value
    return v3.AccessLog(
        name="envoy.access_loggers.open_telemetry",
        filter=v3.AccessLogFilter(or_filter=v3.OrFilter(filters=filters)),
        typed_config=codec.pack(config),
    )
