"""Which policy is in force where: attachment, precedence and conflicts, from the documents of a World.

For an `override` kind the most specific policy applies: a rule of a route, the route, the service, a listener
of the gateway, the gateway, the mesh; at each level one with `from` beats one without. At equal rank the
document created first wins, then the name; the other one is Conflicted. Policies of an `all` kind all apply.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from itertools import groupby
from typing import Any

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.api.node_certificates import CertificateFiles
from meshwright.control_plane.core.world import PolicyDocument
from meshwright.control_plane.policies.base import Combine, TargetedPolicy, TargetedSpec, TargetRef
from meshwright.control_plane.policies.hook_registry import hooks_for, overrides
from meshwright.control_plane.policies.hooks import Hooks


class AttachmentLevel(IntEnum):
    """Levels of attachment, least specific first."""

    MESH = 0
    GATEWAY = 1
    LISTENER = 2
    SERVICE = 3
    ROUTE = 4
    RULE = 5


@dataclass(frozen=True, slots=True)
class EffectivePolicy:
    """A spec in force at some point. `ref` is `Kind/name` of its document; empty for a kind's default.

    `clusters`: hosts of the mesh that its filters call, with their clusters. `certificates`: the files of
    Certificates that it names.
    """

    kind: str
    order: int
    spec: TargetedSpec
    ref: str
    clusters: tuple[tuple[str, str], ...] = ()
    certificates: tuple[tuple[str, CertificateFiles], ...] = ()

    @property
    def hooks(self) -> Hooks[TargetedSpec]:
        """What the spec does to Envoy's configuration."""
        return hooks_for(self.spec, self.ref, self.clusters, self.certificates)


@dataclass(frozen=True, slots=True)
class AttachmentPoint:
    """Where policies attach. An empty name means that there is none (no route, for example).

    `external` is an ExternalService, in place of a service. `inline` are policies that the route's rule
    states itself (Gateway API's timeouts and retry).
    """

    service: str = ""
    caller: str = ""
    gateway: str = ""
    route: str = ""
    rule: str = ""
    inline: tuple[EffectivePolicy, ...] = ()
    listener: str = ""
    external: str = ""


def edge_point(callee: str, caller: str, gateway: str = "") -> AttachmentPoint:
    """The edge to a service, or to a node of the topology that is an ExternalService."""
    if cluster_names.is_external_node(callee):
        return AttachmentPoint(external=callee.partition("/")[2], caller=caller, gateway=gateway)
    return AttachmentPoint(service=callee, caller=caller, gateway=gateway)


Rank = tuple[AttachmentLevel, bool]
"""How specific a policy is: its level, and whether it names callers."""


@dataclass(frozen=True, slots=True)
class TargetedPolicyRef:
    """One targetRef of one document."""

    document: PolicyDocument
    policy: EffectivePolicy
    target: TargetRef
    combine: Combine

    @property
    def precedence(self) -> tuple[int, str]:
        """What decides a tie: creation, then name."""
        return (self.document.created, self.document.policy.name)

    def rank(self, point: AttachmentPoint) -> Rank | None:
        """How specifically this targets `point`; None when it does not."""
        callers = self.policy.spec.from_
        if callers and point.caller not in callers:
            return None
        level = self._level(point)
        return None if level is None else (level, bool(callers))

    def _level(self, point: AttachmentPoint) -> AttachmentLevel | None:
        name, section = self.target.name, self.target.section_name
        match self.target.kind:
            case "Mesh":
                inside = not point.external and (not point.gateway or self.policy.spec.mesh_has_gateways)
                return AttachmentLevel.MESH if inside else None
            case "ExternalService":
                return AttachmentLevel.SERVICE if point.external and name == point.external else None
            case "Gateway":
                matches = point.gateway and name == point.gateway and section in ("", point.listener)
                level = AttachmentLevel.LISTENER if section else AttachmentLevel.GATEWAY
                return level if matches else None
            case "Service":
                return AttachmentLevel.SERVICE if point.service and name == point.service else None
        if not point.route or f"{self.target.kind}/{name}" != point.route:
            return None
        if section:
            return AttachmentLevel.RULE if section == point.rule else None
        return AttachmentLevel.ROUTE


@dataclass(frozen=True, slots=True)
class PolicyPrecedence:
    """A policy that targets a point. `overridden_by` is the ref of the policy in force; empty: this one."""

    policy: EffectivePolicy
    target: TargetRef
    level: AttachmentLevel
    overridden_by: str = ""


def implementing(policies: Iterable[EffectivePolicy], *hooks: str) -> tuple[EffectivePolicy, ...]:
    """Policies whose kind implements one of `hooks` (method names): nothing may depend on the others."""
    return tuple(policy for policy in policies if any(overrides(policy.spec, hook) for hook in hooks))


def hooks_of(policies: Iterable[EffectivePolicy]) -> list[Hooks[Any]]:
    """The hooks of the policies in force at one place, in the order in which they are applied.

    `policies` are in the order of their kinds.
    """
    result: list[Hooks[Any]] = []
    for _, group in groupby(policies, key=lambda policy: policy.kind):
        members: list[Hooks[Any]] = [policy.hooks for policy in group]
        result += type(members[0]).together(members)
    return result


def refs_of(policies: Iterable[EffectivePolicy]) -> tuple[str, ...]:
    """The policies' documents, without the defaults of kinds."""
    return tuple(policy.ref for policy in policies if policy.ref)


class Attachments:
    """An index of the targeted documents of one World."""

    def __init__(self, documents: tuple[PolicyDocument, ...]) -> None:
        self._mesh_wide: list[TargetedPolicyRef] = []
        self._by_target: dict[tuple[str, str], list[TargetedPolicyRef]] = defaultdict(list)
        self._callers: dict[str, set[str]] = defaultdict(set)
        self._mesh_wide_callers: set[str] = set()
        for ref in _targeted_refs(documents):
            target, callers = ref.target, ref.policy.spec.from_
            if target.kind == "Mesh":
                self._mesh_wide.append(ref)
                self._mesh_wide_callers.update(callers)
            else:
                self._by_target[target.kind, target.name].append(ref)
                self._callers[f"{target.kind}/{target.name}"].update(callers)

    def policies(self) -> Iterator[EffectivePolicy]:
        """Every targeted policy, once for each target."""
        for ref in (*self._mesh_wide, *(ref for refs in self._by_target.values() for ref in refs)):
            yield ref.policy

    def distinct_callers(self, service: str, routes: tuple[str, ...]) -> frozenset[str]:
        """Callers named by a policy for this service or these routes (`Kind/name`)."""
        names = set(self._mesh_wide_callers) | self._callers.get(f"Service/{service}", set())
        for route in routes:
            names |= self._callers.get(route, set())
        return frozenset(names)

    def callers_of_external(self, name: str) -> frozenset[str]:
        """Callers named by a policy for this ExternalService."""
        return frozenset(self._callers.get(f"ExternalService/{name}", ()))

    def effective_at(self, point: AttachmentPoint) -> tuple[EffectivePolicy, ...]:
        """The policies in force at `point`, in the order in which kinds run."""
        in_force, _ = self._resolve(point)
        inline = {policy.kind for policy in point.inline}
        policies = [*point.inline, *(ref.policy for ref, _ in in_force if ref.policy.kind not in inline)]
        return tuple(sorted(policies, key=run_order))

    def precedence_at(self, point: AttachmentPoint) -> tuple[PolicyPrecedence, ...]:
        """Every policy that targets `point`: those in force in the order of kinds, then others."""
        in_force, overridden = self._resolve(point)
        inline = {policy.kind: policy.ref for policy in point.inline}
        entries = [
            PolicyPrecedence(ref.policy, ref.target, level, inline.get(ref.policy.kind, ""))
            for ref, (level, _) in in_force
        ]
        entries += [
            PolicyPrecedence(ref.policy, ref.target, level, inline.get(ref.policy.kind, winner.policy.ref))
            for ref, (level, _), winner in overridden
        ]
        return tuple(sorted(entries, key=lambda entry: (bool(entry.overridden_by), run_order(entry.policy))))

    def _resolve(
        self, point: AttachmentPoint
    ) -> tuple[list[tuple[TargetedPolicyRef, Rank]], list[tuple[TargetedPolicyRef, Rank, TargetedPolicyRef]]]:
        """Attached policies in force with their rank, and the overridden ones with the policy that wins."""
        best: dict[str, tuple[Rank, TargetedPolicyRef]] = {}
        overriding: list[tuple[TargetedPolicyRef, Rank]] = []
        combined: dict[str, tuple[TargetedPolicyRef, Rank]] = {}
        for ref in sorted(self._candidates(point), key=lambda ref: ref.precedence):
            rank = ref.rank(point)
            if rank is None:
                continue
            if ref.combine == "all":
                combined[ref.policy.ref] = (ref, rank)
                continue
            overriding.append((ref, rank))
            if ref.policy.kind not in best or rank > best[ref.policy.kind][0]:
                best[ref.policy.kind] = (rank, ref)
        in_force = [*combined.values(), *((ref, rank) for rank, ref in best.values())]
        winners = {kind: ref for kind, (_, ref) in best.items()}
        overridden = [
            (ref, rank, winners[ref.policy.kind])
            for ref, rank in overriding
            if ref.document is not winners[ref.policy.kind].document
        ]
        return in_force, overridden

    def _candidates(self, point: AttachmentPoint) -> Iterator[TargetedPolicyRef]:
        yield from self._mesh_wide
        route_kind, _, route_name = point.route.partition("/")
        for target in (
            ("Gateway", point.gateway),
            ("Service", point.service),
            ("ExternalService", point.external),
            (route_kind, route_name),
        ):
            yield from self._by_target.get(target, ())


def effective_policies(attachments: Attachments, point: AttachmentPoint) -> tuple[PolicyPrecedence, ...]:
    """Every policy that targets `point`, in force or overridden, with what overrides it.

    `AttachmentPoint(service="inventory", caller="orders")` is the edge from orders to inventory, without
    routes; `Resolver.edge_points` lists the rules of routes, too.
    """
    return attachments.precedence_at(point)


def service_policies(
    attachments: Attachments, service: str, routes: tuple[str, ...] = ()
) -> Mapping[str, tuple[PolicyPrecedence, ...]]:
    """The policies of a service by caller; the empty caller stands for all without an entry of their own."""
    everyone = attachments.precedence_at(AttachmentPoint(service=service))
    result = {"": everyone}
    for caller in sorted(attachments.distinct_callers(service, routes)):
        entries = attachments.precedence_at(AttachmentPoint(service=service, caller=caller))
        if entries != everyone:
            result[caller] = entries
    return result


def run_order(policy: EffectivePolicy) -> tuple[int, str, str]:
    """The order in which hooks run: by kind, then by document."""
    return (policy.order, policy.kind, policy.ref)


def conflicts(documents: tuple[PolicyDocument, ...]) -> Mapping[str, str]:
    """`Kind/name` of each document that loses to another one at equal rank, with the winner's ref."""
    rivals: dict[tuple[str, ...], list[TargetedPolicyRef]] = defaultdict(list)
    for ref in _targeted_refs(documents):
        if ref.combine == "override":
            target = ref.target
            rivals[ref.policy.kind, target.kind, target.name, target.section_name].append(ref)
    losers: dict[str, str] = {}
    for group in rivals.values():
        ordered = sorted(group, key=lambda ref: ref.precedence)
        for index, loser in enumerate(ordered):
            for winner in ordered[:index]:
                if winner.document is not loser.document and _overlapping_callers(
                    winner.policy.spec.from_, loser.policy.spec.from_
                ):
                    losers.setdefault(loser.document.ref, winner.document.ref)
    return losers


def _overlapping_callers(left: tuple[str, ...], right: tuple[str, ...]) -> bool:
    return bool(set(left) & set(right)) if left and right else not left and not right


def _targeted_refs(documents: tuple[PolicyDocument, ...]) -> Iterator[TargetedPolicyRef]:
    for document in documents:
        policy = document.policy
        if not isinstance(policy, TargetedPolicy):
            continue
        effective = EffectivePolicy(policy.kind, policy.order, policy.spec, policy.ref)
        for target in policy.spec.target_refs:
            yield TargetedPolicyRef(document, effective, target, policy.combine)
