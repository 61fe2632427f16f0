"""The status conditions of each policy, and its `state`: the condition that matters most. Pure.

The state is computed here and nowhere else; the admin API sends it, clients show it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from meshwright.control_plane.api.models.policies import Condition, PolicyState, PolicyStatus
from meshwright.control_plane.core.attachment import conflicts
from meshwright.control_plane.core.world import PolicyDocument, World
from meshwright.control_plane.policies.base import TargetedPolicy
from meshwright.control_plane.policies.grpcroute.spec import GRPCRoute
from meshwright.control_plane.policies.httproute.spec import HTTPRoute
from meshwright.control_plane.policies.subset.spec import Subset
from meshwright.control_plane.policies.tcproute.spec import TCPRoute
from meshwright.control_plane.policies.validation_messages import closest_match
from meshwright.control_plane.status.rollout import RolloutCount

MAX_MESSAGE_CHARS = 500
"""Characters of Envoy's rejection messages in a condition."""

_STATES: dict[tuple[str, str], PolicyState] = {
    ("Rejected", "EnvoyRejected"): "rejected",
    ("Conflicted", "OlderPolicy"): "conflicted",
    ("Accepted", "TargetNotFound"): "target-not-found",
    ("Accepted", "NoEffect"): "no-effect",
    ("Programmed", "Pending"): "pending",
    ("Programmed", "NoSidecar"): "unused",
    ("Programmed", "Programmed"): "programmed",
}
# By type and reason of a condition; the first one that a policy has decides.


def summarize(conditions: Iterable[Condition]) -> tuple[PolicyState, str]:
    """The state that follows from a policy's conditions, and the message of the one that decides."""
    messages = {(condition.type, condition.reason): condition.message for condition in conditions}
    for key, state in _STATES.items():
        if key in messages:
            return state, "" if state == "programmed" else messages[key]
    return "unknown", ""


def policy_statuses(world: World, rollouts: Mapping[str, RolloutCount]) -> tuple[PolicyStatus, ...]:
    """The status of every document of the world. `rollouts` by `Kind/name`."""
    winners = conflicts(world.documents)
    return tuple(
        _status(world, document, winners.get(document.ref, ""), rollouts.get(document.ref, RolloutCount()))
        for document in world.documents
    )


def _status(world: World, document: PolicyDocument, winner: str, rollout: RolloutCount) -> PolicyStatus:
    conditions = tuple(_conditions(world, document, winner, rollout))
    state, reason = summarize(conditions)
    return PolicyStatus(
        kind=document.policy.kind,
        name=document.policy.name,
        conditions=conditions,
        affected=rollout.holders,
        acked=rollout.acked,
        state=state,
        reason=reason,
    )


def _conditions(
    world: World, document: PolicyDocument, winner: str, rollout: RolloutCount
) -> Iterator[Condition]:
    """`winner`: the older policy with the same target, "" if there is none."""
    yield _accepted(world, document)
    if winner:
        message = f"{winner} has the same target, is older, and applies instead"
        yield Condition(type="Conflicted", status="True", reason="OlderPolicy", message=message)
    yield _programmed(rollout)
    if rollout.rejections:
        message = "; ".join(sorted(set(rollout.rejections)))[:MAX_MESSAGE_CHARS]
        yield Condition(type="Rejected", status="True", reason="EnvoyRejected", message=message)


def _accepted(world: World, document: PolicyDocument) -> Condition:
    unresolved = unresolved_references(world, document)
    if unresolved:
        message = "; ".join(unresolved)
        return Condition(type="Accepted", status="False", reason="TargetNotFound", message=message)
    policy = document.policy
    if isinstance(policy, TargetedPolicy):
        for target in policy.spec.target_refs:
            message = policy.spec.inapplicable_reason(target)
            if message:
                return Condition(type="Accepted", status="False", reason="NoEffect", message=message)
    return Condition(type="Accepted", status="True", reason="Accepted")


def _programmed(rollout: RolloutCount) -> Condition:
    if not rollout.holders:
        message = "no connected sidecar needs it yet"
        return Condition(type="Programmed", status="Unknown", reason="NoSidecar", message=message)
    message = f"accepted by {rollout.acked} of {rollout.holders} proxies"
    if rollout.acked == rollout.holders:
        return Condition(type="Programmed", status="True", reason="Programmed", message=message)
    return Condition(type="Programmed", status="False", reason="Pending", message=message)


# --- references -------------------------------------------------------------------------------------


def reference_warnings(world: World, documents: Iterable[PolicyDocument]) -> list[str]:
    """Unresolved references of `documents`; one line each."""
    return [
        f"{document.ref}: {message}"
        for document in documents
        for message in unresolved_references(world, document)
    ]


def unresolved_references(world: World, document: PolicyDocument) -> list[str]:
    """One message for each name in the document that does not exist in the world, with the closest name."""
    refs = {other.ref for other in world.documents}
    refs.update(f"Service/{name}" for name in world.services)
    refs.update(f"Gateway/{name}" for name in world.gateways)
    return [
        f"there is no {kind} {name} yet{_suggestion(kind, name, refs)}: the policy takes effect when there is"
        for kind, name in _references(document)
        if f"{kind}/{name}" not in refs
    ]


def _suggestion(kind: str, name: str, refs: Iterable[str]) -> str:
    names = sorted(ref.removeprefix(f"{kind}/") for ref in refs if ref.startswith(f"{kind}/"))
    match = closest_match(name, names)
    return f" (did you mean {match}?)" if match else ""


def _references(document: PolicyDocument) -> list[tuple[str, str]]:
    """Kind and name of everything that the document refers to."""
    policy = document.policy
    match policy:
        case TargetedPolicy():
            return [(ref.kind, ref.name) for ref in policy.spec.target_refs if ref.kind != "Mesh"]
        case HTTPRoute() | GRPCRoute():
            rules = policy.spec.rules
            parents = [(ref.kind, ref.name) for ref in policy.spec.parent_refs]
            backends = [(ref.kind, ref.name) for rule in rules for ref in rule.backend_refs]
            mirrors = [
                (filter.request_mirror.backend_ref.kind, filter.request_mirror.backend_ref.name)
                for rule in rules
                for filter in rule.filters
                if filter.request_mirror is not None
            ]
            return list(dict.fromkeys([*parents, *backends, *mirrors]))
        case TCPRoute():
            backends = [(ref.kind, ref.name) for ref in policy.spec.rules[0].backend_refs]
            return [*(("Service", ref.name) for ref in policy.spec.parent_refs), *backends]
        case Subset():
            return [("Service", policy.spec.service)]
    return []
