"""Whether a request failed: the one rule for metrics, request logs and spans.

A mistake of the caller (4xx, NOT_FOUND and the like) is not a failure: it does not affect health, is not
explained, and is not marked as an error in a trace.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from meshwright.control_plane.core.local_replies import NO_RESPONSE_FLAGS
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies import server_errors
from meshwright.control_plane.policies.server_errors import GRPC_SERVER_ERRORS, SERVER_ERROR
from meshwright.control_plane.telemetry.requests import response_flags

GRPC_FAILURES = {
    str(v3.GrpcStatusFilter.Status.Value(name)): name.title().replace("_", "") for name in GRPC_SERVER_ERRORS
}
"""gRPC statuses of server errors: number → name as Envoy writes it in an access log."""

GRPC_REFUSALS = frozenset(name.title().replace("_", "") for name in server_errors.GRPC_REFUSALS)
"""gRPC statuses of calls that a proxy refused, by Envoy's names in an access log."""

NOT_ROUTED_FLAGS = frozenset({"NR", "NC"})
"""No route matches, or the route's service does not exist."""

NO_RESPONSE = frozenset(NO_RESPONSE_FLAGS)

_NAMES_AND_NUMBERS = frozenset((*GRPC_FAILURES, *GRPC_FAILURES.values()))


LocalReplyOutcome = Literal["failed", "refused", "ok"]
"""How a response counts that a proxy made itself. `refused`: a 4xx, such as no route or a limit."""


def local_reply_outcome(
    status: str, grpc_status: str, flags: Collection[str], *, is_routed: bool
) -> LocalReplyOutcome:
    """How a response of a proxy itself counts; empty values are missing.

    `is_routed`: it was for a known service. A service whose routes do not match its callers' requests fails
    them; a gateway's clients may ask for anything.
    """
    if status.startswith("5") or grpc_status in GRPC_FAILURES:
        return "failed"
    if is_routed and not NOT_ROUTED_FLAGS.isdisjoint(flags):
        return "failed"
    if "FI" in flags or not (grpc_status or status.startswith("4")):
        return "ok"  # a fault stands for a response of the app
    return "refused"


def is_delayed_response(flags: Collection[str]) -> bool:
    """Whether an instance responded to a request that a fault had delayed."""
    return "DI" in flags and NO_RESPONSE.isdisjoint(flags)


def is_failure(status: int, grpc_status: str = "", flags: str = "") -> bool:
    """5xx, a gRPC status of a server error (number or name), or a response flag that means failure.

    `status` is 0 if no response was started; `flags` are response flags as Envoy writes them.
    """
    if status >= SERVER_ERROR or grpc_status in _NAMES_AND_NUMBERS:
        return True
    return response_flags.has_failure(flags, status)
