"""Requests that a policy refused, and connections without the TLS that a service or a gateway requires. Pure.

They are counted as their records arrive, and taken once a second to become metrics and events. Envoy names
the filter that refused a request, so its kind is known; where it also names the policy, that one alone is
responsible, otherwise all policies of the kind that are in force there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from meshwright.control_plane.api.models.requests import Cause, Request
from meshwright.control_plane.core.reply_reasons import FORWARDED
from meshwright.control_plane.policies.hook_registry import kinds_refusing
from meshwright.control_plane.telemetry import metrics
from meshwright.control_plane.telemetry.requests.attribution import PolicyAttribution
from meshwright.control_plane.telemetry.requests.explain import explain_refusal
from meshwright.control_plane.telemetry.requests.handshake import refusal_reason
from meshwright.control_plane.telemetry.requests.record import RequestRecord

MAX_KEYS = 500
"""Refusals that are counted apart between two calls of `take`."""

OUTSIDE = "outside"
"""The caller, of clients of a gateway."""

_Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """`count` refusals for one reason; the newest of them had the ID `request`.

    `policies` (`Kind/name`) are responsible; none for a connection, whose `reason` is one of
    `handshake.REASONS`. `caller` is proven; `outside` for clients of a gateway, empty if unknown.
    `service`: its proxies refused; `callee`: the service that was called.
    """

    service: str
    caller: str
    callee: str
    policies: tuple[str, ...]
    code: str
    message: str
    count: int
    time: float
    reason: str = ""
    request: str = ""


class RefusalCounter:
    """Counts refusals among the records of all proxies."""

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._max_keys = max_keys
        self._counts: dict[_Key, tuple[RequestRecord, int]] = {}

    def add(self, record: RequestRecord) -> None:
        """Count a record, if a policy refused the request or the handshake was refused."""
        if record.details in ("", FORWARDED) or not is_refused(record):
            return
        key = (
            record.service, record.direction, record.caller, record.callee, record.status,
            record.grpc_status, record.details, record.route, record.policies, record.transport_failure,
        )  # fmt: skip
        _, count = self._counts.get(key, (record, 0))
        if count or len(self._counts) < self._max_keys:
            self._counts[key] = (record, count + 1)
        else:
            metrics.REFUSALS_UNCOUNTED.inc()

    def take(self) -> tuple[tuple[RequestRecord, int], ...]:
        """The newest record and the number of each kind of refusal since the last call."""
        counts, self._counts = self._counts, {}
        return tuple(counts.values())


def is_refused(record: RequestRecord) -> bool:
    """Whether a policy refused the request, or its connection's handshake was refused."""
    if refusal_reason(record.details):
        return True
    return bool(kinds_refusing(record.details, record.route, record.flags))


def attribute(taken: Iterable[tuple[RequestRecord, int]], policies: PolicyAttribution) -> tuple[Refusal, ...]:
    """What was taken from a counter, with the policies responsible; without what no policy refused.

    The core uses some of the filters that kinds use.
    """
    refusals = (_refusal(record, count, policies) for record, count in taken)
    return tuple(refusal for refusal in refusals if refusal.policies or refusal.reason)


def refused_by(request: Request, policies: PolicyAttribution) -> tuple[str, ...]:
    """`Kind/name` of the policies that refused a request; none if the proxy forwarded it."""
    flags = ",".join(flag.flag for flag in request.flags)
    if request.details in ("", FORWARDED) or not kinds_refusing(request.details, request.route, flags):
        return ()
    return _refs(explain_refusal(request, policies))


def count(refusals: Iterable[Refusal]) -> None:
    """Count what was refused as metrics. Each of several policies that may be responsible counts."""
    for refusal in refusals:
        if refusal.reason:
            metrics.CONNECTIONS_REFUSED.labels(refusal.service, refusal.reason).inc(refusal.count)
        for policy in refusal.policies:
            metrics.REFUSED.labels(policy, refusal.service, refusal.caller or "unknown").inc(refusal.count)


def _refusal(record: RequestRecord, count: int, policies: PolicyAttribution) -> Refusal:
    reason = refusal_reason(record.details)
    cause = None if reason else explain_refusal(record.to_api(), policies)
    return Refusal(
        service=record.service,
        caller=OUTSIDE if record.direction == "ingress" else record.caller,
        callee=record.callee,
        policies=_refs(cause) if cause else (),
        code=record.grpc_status or (str(record.status) if record.status else ""),
        message=cause.message if cause else record.transport_failure,
        count=count,
        time=record.time,
        reason=reason,
        request=record.id,
    )


def _refs(cause: Cause) -> tuple[str, ...]:
    return tuple(sorted(f"{policy.kind}/{policy.name}" for policy in cause.policies))
