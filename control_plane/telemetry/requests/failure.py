"""Whether a request failed: the one rule for metrics, request logs and spans.

A mistake of the caller (4xx, NOT_FOUND and the like) is not a failure: it does not affect health, is not
explained, and is not marked as an error in a trace.
"""

from __future__ import annotations

from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.server_errors import GRPC_SERVER_ERRORS, SERVER_ERROR
from meshwright.control_plane.telemetry.requests import response_flags

GRPC_FAILURES = {
    str(v3.GrpcStatusFilter.Status.Value(name)): name.title().replace("_", "") for name in GRPC_SERVER_ERRORS
}
"""gRPC statuses of server errors: number → name as Envoy writes it in an access log."""

_NAMES_AND_NUMBERS = frozenset((*GRPC_FAILURES, *GRPC_FAILURES.values()))


def is_failure(status: int, grpc_status: str = "", flags: str = "") -> bool:
    """5xx, a gRPC status of a server error (number or name), or a response flag that means failure.

    `status` is 0 if no response was started; `flags` are response flags as Envoy writes them.
    """
    if status >= SERVER_ERROR or grpc_status in _NAMES_AND_NUMBERS:
        return True
    return response_flags.has_failure(flags, status)
