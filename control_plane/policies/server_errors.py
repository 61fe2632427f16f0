"""Which responses count as server errors or refusals, for access logs and statistics alike."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from meshwright.control_plane.envoy import v3

SERVER_ERROR = 500

GRPC_SERVER_ERRORS = ("UNKNOWN", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")
"""gRPC statuses that count as server errors, as in Envoy's outlier detection."""

GRPC_REFUSALS = ("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "UNAUTHENTICATED")
"""gRPC statuses by which a proxy refuses a call: what 403, 429 and 401 become."""


@lru_cache(maxsize=1)
def server_error_filter() -> v3.AccessLogFilter:
    """Accepts requests that failed with a server error: 5xx, and gRPC calls by their status."""
    comparison = v3.ComparisonFilter(
        op=v3.ComparisonFilter.GE,
        value=v3.RuntimeUInt32(default_value=SERVER_ERROR, runtime_key="access_log.min_status"),
    )
    either = [
        v3.AccessLogFilter(status_code_filter=v3.StatusCodeFilter(comparison=comparison)),
        _grpc_filter(GRPC_SERVER_ERRORS),
    ]
    return v3.AccessLogFilter(or_filter=v3.OrFilter(filters=either))


@lru_cache(maxsize=1)
def grpc_error_filter() -> v3.AccessLogFilter:
    """Accepts gRPC calls with any status but OK."""
    names = [name for name in v3.GrpcStatusFilter.Status.keys() if name != "OK"]  # noqa: SIM118  an enum wrapper
    return _grpc_filter(names)


@lru_cache(maxsize=1)
def grpc_refusal_filter() -> v3.AccessLogFilter:
    """Accepts gRPC calls with a status of GRPC_REFUSALS."""
    return _grpc_filter(GRPC_REFUSALS)


def _grpc_filter(names: Iterable[str]) -> v3.AccessLogFilter:
    """Accepts gRPC calls with one of these statuses."""
    statuses = [v3.GrpcStatusFilter.Status.Value(name) for name in names]
    # Envoy derives a gRPC status for every response (200 is UNKNOWN), so the request tells what is gRPC.
    is_grpc = v3.HeaderMatcher(name="content-type", string_match=v3.StringMatcher(prefix="application/grpc"))
    both = [
        v3.AccessLogFilter(header_filter=v3.HeaderFilter(header=is_grpc)),
        v3.AccessLogFilter(grpc_status_filter=v3.GrpcStatusFilter(statuses=statuses)),
    ]
    return v3.AccessLogFilter(and_filter=v3.AndFilter(filters=both))
