"""Whether a request failed: the mesh's one rule, for what proxies count and log and what spans tell. Pure.

What callers did wrong (4xx, NOT_FOUND and the like) is an answer as it should be: it makes nobody unhealthy,
is explained to nobody, and no step of a trace is red for it.
"""

from __future__ import annotations

from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.telemetry import envoy
from meshwright.control_plane.telemetry.requests import response_flags

GRPC_FAILURES = {
    str(v3.GrpcStatusFilter.Status.Value(name)): name.title().replace("_", "") for name in envoy.GRPC_FAILURES
}
"""The gRPC statuses that are the server's fault: number → name as Envoy writes it in an access log."""

_GRPC_NAMES_AND_NUMBERS = frozenset((*GRPC_FAILURES, *GRPC_FAILURES.values()))


def is_failure(status: int, grpc_status: str = "", codes: str = "") -> bool:
    """5xx, a gRPC status by the server's fault (number or name), or one of Envoy's flags that is no success.

    `status` is HTTP's, 0 where no answer was begun; `codes` are flags as Envoy writes them.
    """
    return (
        status >= envoy.SERVER_ERROR
        or grpc_status in _GRPC_NAMES_AND_NUMBERS
        or response_flags.has_failure(codes, status)
    )
