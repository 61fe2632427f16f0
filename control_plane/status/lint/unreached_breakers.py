"""Limits of CircuitBreakers beyond what any caller did within the last hour: they protect from nothing."""

from __future__ import annotations

from collections.abc import Iterator

from meshwright.control_plane.api.models.authorization import ObservedCall, ObservedCalls
from meshwright.control_plane.api.models.lint import LintFinding
from meshwright.control_plane.core.attachment import AttachmentPoint
from meshwright.control_plane.core.translate import Translation
from meshwright.control_plane.policies.circuitbreaker.spec import CircuitBreakerSpec
from meshwright.control_plane.status.lint.unused_policies import MIN_SECONDS

MIN_REQUESTS = 1000
"""Requests of the busiest caller below which nothing is concluded: a quiet hour does not show a peak."""

DEFAULT_FAILURES: int = CircuitBreakerSpec.model_fields["consecutive_failures"].default
"""Nobody chose it."""


def unreached_breakers(translation: Translation, calls: ObservedCalls) -> Iterator[LintFinding]:
    """One finding for each CircuitBreaker, by the busiest of the callers that it is in force for.

    A sidecar cannot have more requests in flight, nor failures in a row, than its service made in all of the
    time; connections that are older are not known.
    """
    if calls.seconds < MIN_SECONDS:
        return
    busiest: dict[str, tuple[CircuitBreakerSpec, ObservedCall]] = {}
    attachments = translation.resolver.attachments
    for call in calls.calls:
        for policy in attachments.effective_at(AttachmentPoint(service=call.service, caller=call.caller)):
            if isinstance(policy.spec, CircuitBreakerSpec) and policy.ref:
                _, last = busiest.get(policy.ref, (policy.spec, call))
                busiest[policy.ref] = (policy.spec, max(last, call, key=lambda each: each.requests))
    for ref, (spec, call) in sorted(busiest.items()):
        fields = _out_of_reach(spec, call.requests) if call.requests >= MIN_REQUESTS else []
        if fields:
            what = "connections" if call.protocol == "tcp" else "requests"
            yield LintFinding(
                rule="unreached-breaker",
                severity="warning",
                policies=(ref,),
                message=f"no caller reaches {' and '.join(fields)} of {ref}: the busiest, {call.caller}, "
                f"made {call.requests:.0f} {what} to {call.service} within the last {calls.seconds / 60:.0f} "
                "minutes: lower it",
            )


def _out_of_reach(spec: CircuitBreakerSpec, requests: float) -> list[str]:
    failures = spec.consecutive_failures
    limits = {
        "consecutiveFailures": failures if failures != DEFAULT_FAILURES else None,
        "maxConnections": spec.max_connections,
        "maxPending": spec.max_pending,
        "maxRequests": spec.max_requests,
    }
    return [f"{name} {limit}" for name, limit in limits.items() if limit and limit > requests]
