"""Counts what no statistic of a cluster counts: responses that a proxy makes itself, and what callers waited.

Envoy's router counts a response by cluster if an instance sent it, or if it made one in place of an instance
that it had chosen a cluster for (no healthy instance, no connection, a limit, a timeout). It does not count a
response to a request without a route or a backend, nor those of other filters and of the connection manager.
For the caller they are responses of the service that it called, so an access log counts them by service.

`upstream_rq_time` begins in the router and has only requests that an instance responded to. The durations of
the others, and of those that a fault delayed before the router, are in a histogram of their own.

Access logs are evaluated once a request, after its end. A request that succeeds costs a comparison of its
status and of its response flags.
"""

from __future__ import annotations

from functools import lru_cache

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.api.resource_metadata import METADATA_KEY
from meshwright.control_plane.core import stats_log
from meshwright.control_plane.core.route_statistics import RULE_FORMAT, RULE_TAG
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.faultinjection.envoy import ABORT_FLAG, DELAY_FLAG
from meshwright.control_plane.policies.server_errors import grpc_error_filter

SERVICE_KEY = "service"
"""The metadata of a virtual host, below METADATA_KEY, that names the service it stands for."""

REPLIES, WAIT_TIME = "local_replies", "wait_time"

TAGS = {
    "envoy.cluster_name": "%UPSTREAM_CLUSTER%",
    "mesh.service": f"%METADATA(VIRTUAL_HOST:{METADATA_KEY}:{SERVICE_KEY})%",
    "mesh.flags": "%RESPONSE_FLAGS%",
}
"""Tags of both statistics; a missing value is empty."""

REPLY_TAGS = {
    **TAGS,
    RULE_TAG: RULE_FORMAT,
    "envoy.response_code": "%RESPONSE_CODE%",
    "mesh.grpc_status": "%GRPC_STATUS_NUMBER%",
}

NO_RESPONSE_FLAGS = ("UF", "UH", "UO", "UT", "UC", "UR", "LR", "UPE", "DF", "DO", "UDO")
"""Flags of requests that the router counted and that no instance responded to."""

_COUNTED_DETAILS = (
    "via_upstream",
    "no_healthy_upstream",
    "response_timeout",
    "upstream_per_try_timeout",
    "maintenance_mode",
    "drop_overload",
)
_COUNTED_PREFIX = "upstream_reset_"
_COUNTED = (
    f"(response.code_details in [{', '.join(map(repr, _COUNTED_DETAILS))}]"
    f" || response.code_details.startsWith('{_COUNTED_PREFIX}'))"
    f" && (!xds.cluster_name.startsWith('/') || xds.cluster_name.startsWith('{cluster_names.EXTERNAL}/'))"
)
"""CEL: whether the router counted the response. A cluster with a slash stands for no service,
unless it is that of an ExternalService.

By response code details (Envoy's documentation, "Response code details"), measured with Envoy 1.40.
"""

CLIENT_ERROR = 400


@lru_cache(maxsize=1)
def access_logs() -> tuple[v3.AccessLog, ...]:
    """Access logs that write nothing and count; for connection managers of callers and gateways."""
    not_ok = _any(_status_from(CLIENT_ERROR), grpc_error_filter(), _flags(ABORT_FLAG))
    replies = stats_log.counting(REPLIES, REPLY_TAGS)
    _add_histogram(replies)
    waits = stats_log.config()
    _add_histogram(waits)
    return (
        stats_log.access_log(replies, _all(not_ok, _expression(f"!({_COUNTED})"))),
        stats_log.access_log(waits, _all(_flags(DELAY_FLAG, *NO_RESPONSE_FLAGS), _expression(_COUNTED))),
    )


def mark(host: v3.VirtualHost, service: str) -> None:
    """Say which service (or `service:port`) a virtual host stands for."""
    host.metadata.filter_metadata[METADATA_KEY].update({SERVICE_KEY: service})


def _add_histogram(config: v3.StatsAccessLog) -> None:
    histogram = config.histograms.add(
        unit=v3.StatsAccessLog.Histogram.Milliseconds, value_format="%DURATION%"
    )
    stats_log.set_stat(histogram.stat, WAIT_TIME, TAGS)


def _any(*filters: v3.AccessLogFilter) -> v3.AccessLogFilter:
    return v3.AccessLogFilter(or_filter=v3.OrFilter(filters=filters))


def _all(*filters: v3.AccessLogFilter) -> v3.AccessLogFilter:
    return v3.AccessLogFilter(and_filter=v3.AndFilter(filters=filters))


def _flags(*flags: str) -> v3.AccessLogFilter:
    return v3.AccessLogFilter(response_flag_filter=v3.ResponseFlagFilter(flags=flags))


def _status_from(status: int) -> v3.AccessLogFilter:
    comparison = v3.ComparisonFilter(
        op=v3.ComparisonFilter.GE,
        value=v3.RuntimeUInt32(default_value=status, runtime_key="local_replies.min_status"),
    )
    return v3.AccessLogFilter(status_code_filter=v3.StatusCodeFilter(comparison=comparison))


def _expression(text: str) -> v3.AccessLogFilter:
    config = codec.pack(v3.ExpressionFilter(expression=text))
    extension = v3.ExtensionFilter(name="envoy.access_loggers.extension_filters.cel", typed_config=config)
    return v3.AccessLogFilter(extension_filter=extension)
