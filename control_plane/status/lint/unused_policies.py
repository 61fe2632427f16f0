"""Policies that nothing uses: subsets that no route names, and rules for calls that nobody makes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from meshwright.control_plane.api.models.authorization import ObservedCalls
from meshwright.control_plane.api.models.lint import LintFinding
from meshwright.control_plane.core.translate import Translation
from meshwright.control_plane.core.world import World
from meshwright.control_plane.policies.base import TargetedPolicy
from meshwright.control_plane.policies.subset.spec import Subset

CALL_KINDS = frozenset(
    {"CircuitBreaker", "ConnectionPool", "FaultInjection", "LoadBalancer", "Retry", "Timeout"}
)
"""Kinds that only say how calls are made. What protects a service is of use before anybody calls it."""

MIN_SECONDS = 1800.0
"""Seconds for which calls must have been seen before their absence says anything."""


def unused_policies(translation: Translation, calls: ObservedCalls) -> Iterator[LintFinding]:
    """One finding for each policy."""
    world = translation.world
    routed = frozenset(_subsets_in(document.policy.model_dump() for document in world.documents))
    for document in world.documents:
        policy = document.policy
        if isinstance(policy, Subset) and policy.name not in routed:
            yield _finding(policy.ref, "no route sends requests to it")
        elif isinstance(policy, TargetedPolicy) and (reason := _unused_reason(policy, world, calls)):
            yield _finding(policy.ref, reason)


def _unused_reason(policy: TargetedPolicy, world: World, calls: ObservedCalls) -> str:
    """Why a policy for calls of services is of no use; empty if it may be, or a target is no service."""
    targets = policy.spec.target_refs if policy.kind in CALL_KINDS else ()
    names = {ref.name for ref in targets if ref.kind == "Service" and ref.name in world.services}
    if not names or len(names) < len({(ref.kind, ref.name) for ref in targets}):
        return ""
    callers = frozenset(policy.spec.from_)
    if any(call.service in names and (not callers or call.caller in callers) for call in calls.calls):
        return ""
    named = ", ".join(sorted(names))
    if all(world.services[name].is_idle for name in names):
        return f"{named} has no instance"
    if calls.seconds < MIN_SECONDS:
        return ""
    who = f"none of {', '.join(sorted(callers))}" if callers else "nobody"
    return f"{who} called {named} within the last {calls.seconds / 60:.0f} minutes"


def _finding(ref: str, reason: str) -> LintFinding:
    message = f"nothing uses {ref}: {reason}: remove it, unless it is for later"
    return LintFinding(rule="unused-policy", severity="warning", policies=(ref,), message=message)


def _subsets_in(values: Iterable[Any]) -> Iterator[str]:
    """The names of Subsets that references in these values name."""
    for value in values:
        if isinstance(value, dict):
            if value.get("kind") == "Subset" and isinstance(value.get("name"), str):
                yield value["name"]
            yield from _subsets_in(value.values())
        elif isinstance(value, (list, tuple)):
            yield from _subsets_in(value)
