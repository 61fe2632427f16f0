"""What became of each policy: accepted, in conflict, in force at how many sidecars, or refused by Envoy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from meshwright.control_plane.api.models.base import Condition, PolicyStatus
from meshwright.control_plane.core.attachment import conflicts
from meshwright.control_plane.core.world import PolicyDocument, World
from meshwright.control_plane.policies.base import TargetedPolicy
from meshwright.control_plane.policies.grpcroute.spec import GRPCRoute
from meshwright.control_plane.policies.httproute.spec import HTTPRoute
from meshwright.control_plane.policies.subset.spec import Subset
from meshwright.control_plane.policies.tcproute.spec import TCPRoute

MAX_MESSAGE_CHARS = 500
"""Characters of Envoy's own words in a condition."""


@dataclass(frozen=True, slots=True)
class RolloutCount:
    """How what a policy shaped fares: sidecars that have some of it, those that ACKed it, refusals."""

    holders: int = 0
    acked: int = 0
    rejections: tuple[str, ...] = ()


def reference_warnings(world: World, documents: Iterable[PolicyDocument]) -> list[str]:
    """What in `documents` leads nowhere in `world`, in words."""
    return [
        f"{document.ref}: {text}" for document in documents for text in unresolved_references(world, document)
    ]


def unresolved_references(world: World, document: PolicyDocument) -> list[str]:
    """Names in one document that nothing in the world has."""
    refs = {one.ref for one in world.documents}
    found = []
    for kind, name in _named(document):
        known = f"{kind}/{name}" in refs
        known |= (kind == "Service" and name in world.services) or (
            kind == "Gateway" and name in world.gateways
        )
        if not known:
            found.append(f"there is no {kind} {name} yet: the policy takes effect when there is")
    return found


def _named(document: PolicyDocument) -> list[tuple[str, str]]:
    policy = document.policy
    match policy:
        case TargetedPolicy():
            return [(one.kind, one.name) for one in policy.spec.target_refs if one.kind != "Mesh"]
        case HTTPRoute() | GRPCRoute():
            rules = policy.spec.rules
            parents = [(one.kind, one.name) for one in policy.spec.parent_refs]
            backends = [(one.kind, one.name) for rule in rules for one in rule.backend_refs]
            mirrors = [
                (one.request_mirror.backend_ref.kind, one.request_mirror.backend_ref.name)
                for rule in rules
                for one in rule.filters
                if one.request_mirror is not None
            ]
            return list(dict.fromkeys([*parents, *backends, *mirrors]))
        case TCPRoute():
            backends = [(one.kind, one.name) for one in policy.spec.rules[0].backend_refs]
            return [*(("Service", one.name) for one in policy.spec.parent_refs), *backends]
        case Subset():
            return [("Service", policy.spec.service)]
    return []


def policy_statuses(world: World, deliveries: Mapping[str, RolloutCount]) -> tuple[PolicyStatus, ...]:
    """The status of every document of the world; `deliveries` are by `Kind/name`."""
    lost = conflicts(world.documents)
    return tuple(
        _status(world, one, lost, deliveries.get(one.ref, RolloutCount())) for one in world.documents
    )


def _status(
    world: World, document: PolicyDocument, lost: Mapping[str, str], delivery: RolloutCount
) -> PolicyStatus:
    return PolicyStatus(
        kind=document.policy.kind,
        name=document.policy.name,
        conditions=tuple(_conditions(world, document, lost, delivery)),
        affected=delivery.holders,
        acked=delivery.acked,
    )


def _conditions(
    world: World, document: PolicyDocument, lost: Mapping[str, str], delivery: RolloutCount
) -> Iterable[Condition]:
    yield _accepted(world, document)
    if document.ref in lost:
        text = f"{lost[document.ref]} has the same target and is older: it is in force instead"
        yield Condition(type="Conflicted", status="True", reason="OlderPolicy", message=text)
    yield _programmed(delivery)
    if delivery.rejections:
        words = "; ".join(sorted(set(delivery.rejections)))[:MAX_MESSAGE_CHARS]
        yield Condition(type="Rejected", status="True", reason="EnvoyRefused", message=words)


def _accepted(world: World, document: PolicyDocument) -> Condition:
    nowhere = unresolved_references(world, document)
    if nowhere:
        return Condition(type="Accepted", status="False", reason="TargetNotFound", message="; ".join(nowhere))
    policy = document.policy
    if isinstance(policy, TargetedPolicy):
        for target in policy.spec.target_refs:
            useless = policy.spec.inapplicable_reason(target)
            if useless:
                return Condition(type="Accepted", status="False", reason="NoEffect", message=useless)
    return Condition(type="Accepted", status="True", reason="Accepted")


def _programmed(delivery: RolloutCount) -> Condition:
    if not delivery.holders:
        text = "no connected sidecar needs it yet"
        return Condition(type="Programmed", status="Unknown", reason="NoSidecar", message=text)
    text = f"{delivery.acked} of {delivery.holders} sidecars have it"
    if delivery.acked == delivery.holders:
        return Condition(type="Programmed", status="True", reason="Programmed", message=text)
    return Condition(type="Programmed", status="False", reason="Pending", message=text)
