"""Which responses count as server errors, for access logs and statistics alike."""

from __future__ import annotations

from functools import lru_cache

from meshwright.control_plane.envoy import v3

SERVER_ERROR = 500

GRPC_SERVER_ERRORS = ("UNKNOWN", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")
"""gRPC statuses that count as server errors, as in Envoy's outlier detection."""


@lru_cache(maxsize=1)
def server_error_filter() -> v3.AccessLogFilter:
    """Accepts requests that failed with a server error: 5xx, and gRPC calls by their status."""
    comparison = v3.ComparisonFilter(
        op=v3.ComparisonFilter.GE,
        value=v3.RuntimeUInt32(default_value=SERVER_ERROR, runtime_key="access_log.min_status"),
    )
    statuses = [v3.GrpcStatusFilter.Status.Value(name) for name in GRPC_SERVER_ERRORS]
    # Envoy derives a gRPC status for every response (200 is UNKNOWN), so the request tells what is gRPC.
    is_grpc = v3.HeaderMatcher(name="content-type", string_match=v3.StringMatcher(prefix="application/grpc"))
    grpc_error = [
        v3.AccessLogFilter(header_filter=v3.HeaderFilter(header=is_grpc)),
        v3.AccessLogFilter(grpc_status_filter=v3.GrpcStatusFilter(statuses=statuses)),
    ]
    either = [
        v3.AccessLogFilter(status_code_filter=v3.StatusCodeFilter(comparison=comparison)),
        v3.AccessLogFilter(and_filter=v3.AndFilter(filters=grpc_error)),
    ]
    return v3.AccessLogFilter(or_filter=v3.OrFilter(filters=either))
