"""Which callers' figures count for a service, where its own sidecars say otherwise. Pure.

What a caller says about a service is a claim: one certificate is enough to claim that everything fails, or a
billion requests. The edge from that caller shows it. For the service as a whole, its own figures contradict a
claim that is worse than they are, or that is many times what the service received. Such a claim counts only
if most callers agree: then the failures happen on the way, as those that FaultInjection makes do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from meshwright.control_plane.api.models.topology import HealthThresholds
from meshwright.control_plane.telemetry.topology.traffic import CallResults

MIN_CALLS = HealthThresholds().min_requests
"""Calls from which on figures say something."""

TOLERANCE = 0.02
"""By how much the share of failures that a caller sees may exceed the service's own: windows do not match."""

MAX_MULTIPLE = 10.0
"""How many times what a service received one caller may claim: retries and limits account for less."""

MAX_CALLS_PER_SECOND = 1_000_000.0
"""Calls of one sidecar to one cluster; Envoy does some ten thousand for each core."""


def credible_callers(claims: Mapping[str, CallResults], received: CallResults | None) -> frozenset[str]:
    """The callers whose figures count for a service; `received` by its sidecars, None if unknown."""
    callers = frozenset(claims)
    if received is None or received.total < MIN_CALLS:
        return callers
    contradicted = frozenset(caller for caller, claim in claims.items() if _contradicts(received, claim))
    judging = sum(claim.total >= MIN_CALLS for claim in claims.values())
    return callers if 2 * len(contradicted) > judging else callers - contradicted


def is_plausible(calls: Iterable[float], seconds: float) -> bool:
    """Whether one sidecar can have made these numbers of calls to one cluster."""
    return all(count <= MAX_CALLS_PER_SECOND * max(seconds, 1.0) for count in calls)


def _contradicts(received: CallResults, claim: CallResults) -> bool:
    if claim.total < MIN_CALLS:
        return False
    is_worse = claim.failed / claim.total > received.failed / received.total + TOLERANCE
    return is_worse or claim.total > MAX_MULTIPLE * received.total
