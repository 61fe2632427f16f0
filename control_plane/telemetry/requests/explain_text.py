"""The sentences of an explanation."""

from __future__ import annotations

from meshwright.control_plane.api.models.requests import Cause, Request, ResponsiblePolicy
from meshwright.control_plane.telemetry.requests.attribution import policy_list


def failure_summary(cause: Cause, now: float) -> str:
    """`503 UO at storefront → orders: CircuitBreaker orders-limits, revision 41, by ann, 3 minutes ago`."""
    code = " ".join(filter(None, (cause.grpc_status or str(cause.status or ""), cause.flag)))
    return f"{code or 'failed'} at {_edge(cause)}: {_policies(cause, now) or cause.message}"


def latency_summary(first: Request, cause: Cause, now: float) -> str:
    """`200 after 1.40 s: 1.39 s of 1.40 s were spent in the app of orders; Timeout quick, revision 3`."""
    policies = f"; {_policies(cause, now)}" if cause.policies else ""
    return f"{outcome(first)}: {cause.message}{policies}"


def outcome(first: Request) -> str:
    """`503 after 1.01 s`."""
    return f"{first.grpc_status or first.status} after {format_ms(first.duration)}"


def time_ago(seconds: float) -> str:
    """`3 minutes ago`."""
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        count = int(seconds // size)
        if count >= 1:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def format_ms(value: float) -> str:
    """A duration: `1.40 s`, `25 ms`, `0.35 ms`."""
    if value >= 1000:
        return f"{value / 1000:.2f} s"
    return f"{value:.0f} ms" if value >= 10 else f"{value:.2f} ms" if value >= 0.005 else "<1 ms"


def _edge(cause: Cause) -> str:
    ends = [name for name in (cause.caller, cause.callee) if name]
    return " → ".join(dict.fromkeys(ends)) or cause.service


def _policies(cause: Cause, now: float) -> str:
    """The responsible policies, and who last changed the first of them."""
    if not cause.policies:
        return ""
    if cause.flag == "NR":
        change = _last_change(cause.policies[0], now).removeprefix(", ")
        if len(cause.policies) == 1:
            return f"{cause.message} ({change})" if change else cause.message
        newest = policy_list(cause.policies[:1])
        return f"{cause.message}; {newest} changed last ({change})" if change else cause.message
    return f"{policy_list(cause.policies)}{_last_change(cause.policies[0], now)}"


def _last_change(policy: ResponsiblePolicy, now: float) -> str:
    text = f", revision {policy.revision}" if policy.revision else ""
    text += f", by {policy.author}" if policy.author else ""
    return f"{text}, {time_ago(now - policy.time)}" if policy.time else text
