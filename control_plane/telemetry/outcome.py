"""Whether a request failed: the mesh's one rule, for what proxies count and log and what spans tell. Pure.

What callers did wrong (4xx, NOT_FOUND and the like) is an answer as it should be: it makes nobody unhealthy,
is explained to nobody, and no step of a trace is red for it.
"""

from __future__ import annotations

from control_plane.telemetry import flags

SERVER_ERROR = 500

GRPC_FAILURES = {
    "2": "Unknown",
    "4": "DeadlineExceeded",
    "13": "Internal",
    "14": "Unavailable",
    "15": "DataLoss",
}
"""The gRPC statuses that are the server's fault, as Envoy's outlier detection sees it: number → Envoy's name.

The access log knows the same ones (`policies.telemetry.hcm`).
"""

_GRPC = frozenset((*GRPC_FAILURES, *GRPC_FAILURES.values()))


def failed(status: int, grpc_status: str = "", codes: str = "") -> bool:
    """5xx, a gRPC status by the server's fault (number or name), or one of Envoy's flags that is no success.

    `status` is HTTP's, 0 where no answer was begun; `codes` are flags as Envoy writes them.
    """
    return status >= SERVER_ERROR or grpc_status in _GRPC or flags.failed(codes, status)
