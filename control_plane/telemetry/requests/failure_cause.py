"""Why most requests to a service fail at the moment, and since when. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from meshwright.control_plane.api.models.requests import Cause, Request, ResponsiblePolicy
from meshwright.control_plane.api.models.topology import HistoryPoint
from meshwright.control_plane.telemetry.requests.attribution import PolicyAttribution
from meshwright.control_plane.telemetry.requests.explain import direct_causes


def most_common_cause(
    requests: Iterable[Request], policies: PolicyAttribution, ejecting: Collection[str]
) -> str:
    """The cause of most of these failed requests: `FaultInjection slow, revision 2, by root`; empty: none.

    `ejecting`: services of which a circuit breaker keeps instances out. Of any other one that had no healthy
    instance (flag UH) no policy is the cause: it was starting, or is gone.
    """
    texts: Counter[str] = Counter()
    for request in requests:
        if causes := direct_causes(request, policies):
            is_policys = causes[0].flag != "UH" or request.callee in ejecting
            texts[_text(causes[0], policies=is_policys)] += 1
    return texts.most_common(1)[0][0] if texts else ""


def failing_since(points: Sequence[HistoryPoint], success_below: float, now: float) -> float:
    """When the failure that lasts until now began, in epoch seconds; 0: nothing fails.

    `points` are the oldest first. Points without requests do not end a failure.
    """
    began = 0.0
    for point in reversed(points):
        if point.requests and 1 - point.failures / point.requests >= success_below:
            break
        if point.failures:
            began = now - point.age_s
    return began


def change_text(policy: ResponsiblePolicy) -> str:
    """`revision 2, by root`; empty if nothing is known."""
    revision = f"revision {policy.revision}" if policy.revision else ""
    return ", ".join(filter(None, (revision, f"by {policy.author}" if policy.author else "")))


def _text(cause: Cause, *, policies: bool) -> str:
    if not policies or not cause.policies or cause.flag == "NR":
        code = " ".join(filter(None, (cause.grpc_status or str(cause.status or ""), cause.flag)))
        return f"{code}: {cause.message}" if code else cause.message
    policy = cause.policies[0]
    return ", ".join(filter(None, (f"{policy.kind} {policy.name}", change_text(policy))))
