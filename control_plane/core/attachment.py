"""Which policy is in force where: attachment, precedence and conflicts, from the documents of a world.

For an `override` kind the most specific one wins whole: a rule of a route, the route, the service for a named
caller, the service, the gateway, the mesh; at each step one with `from` beats one without. At equal rank the
document first created wins, then the name; the other is Conflicted. For an `all` kind every one applies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from meshwright.control_plane.core.world import PolicyDocument
from meshwright.control_plane.policies.base import TargetedPolicy, TargetedSpec, TargetRef

MESH, GATEWAY, SERVICE, ROUTE, RULE = range(5)
"""Levels of attachment, widest first."""


@dataclass(frozen=True, slots=True)
class EffectivePolicy:
    """A spec in force at some place. `ref` is `Kind/name` of the document it came from."""

    kind: str
    order: int
    spec: TargetedSpec
    ref: str


@dataclass(frozen=True, slots=True)
class AttachmentPoint:
    """A place policies can be attached to. Empty names are places that are not there (no route, say)."""

    service: str = ""
    caller: str = ""
    gateway: str = ""
    route: str = ""
    rule: str = ""
    inline: tuple[EffectivePolicy, ...] = ()
    """What the rule itself says (Gateway API's timeouts and retry)."""


@dataclass(frozen=True, slots=True)
class TargetedPolicyRef:
    """One targetRef of one document."""

    document: PolicyDocument
    policy: EffectivePolicy
    target: TargetRef
    combine: str

    @property
    def precedence(self) -> tuple[int, str]:
        """The order that decides a tie: first created, then by name."""
        return (self.document.created, self.document.policy.name)

    def level(self, site: AttachmentPoint) -> int | None:
        """How specifically this targets `site`; None when it does not."""
        callers = self.policy.spec.from_
        if callers and site.caller not in callers:
            return None
        name, section = self.target.name, self.target.section_name
        match self.target.kind:
            case "Mesh":
                return MESH
            case "Gateway":
                return GATEWAY if site.gateway and name == site.gateway else None
            case "Service":
                return SERVICE if site.service and name == site.service else None
        if not site.route or f"{self.target.kind}/{name}" != site.route:
            return None
        if section:
            return RULE if section == site.rule else None
        return ROUTE


def implementing(bounds: Iterable[EffectivePolicy], hook: str) -> tuple[EffectivePolicy, ...]:
    """Those whose spec does something in `hook` (a method's name): nothing else may depend on the others."""
    default = getattr(TargetedSpec, hook)
    return tuple(one for one in bounds if getattr(type(one.spec), hook) is not default)


class Attachments:
    """An index of the targeted documents of one world."""

    def __init__(self, documents: tuple[PolicyDocument, ...]) -> None:
        self._mesh_wide: list[TargetedPolicyRef] = []
        self._by_target: dict[tuple[str, str], list[TargetedPolicyRef]] = defaultdict(list)
        self._callers: dict[str, set[str]] = defaultdict(set)
        self._mesh_wide_callers: set[str] = set()
        for candidate in _targeted_refs(documents):
            target = candidate.target
            if target.kind == "Mesh":
                self._mesh_wide.append(candidate)
                self._mesh_wide_callers.update(candidate.policy.spec.from_)
            else:
                self._by_target[target.kind, target.name].append(candidate)
                self._callers[f"{target.kind}/{target.name}"].update(candidate.policy.spec.from_)

    def distinct_callers(self, service: str, routes: tuple[str, ...]) -> frozenset[str]:
        """Callers for whom something differs at this service or these routes (`Kind/name`)."""
        names = set(self._mesh_wide_callers) | self._callers.get(f"Service/{service}", set())
        for route in routes:
            names |= self._callers.get(route, set())
        return frozenset(names)

    def effective_at(self, site: AttachmentPoint) -> tuple[EffectivePolicy, ...]:
        """What is in force at `site`, in the order the kinds run."""
        best: dict[str, tuple[tuple[int, bool], TargetedPolicyRef]] = {}
        every: dict[str, EffectivePolicy] = {}
        for candidate in sorted(self._candidates(site), key=lambda one: one.precedence):
            level = candidate.level(site)
            if level is None:
                continue
            if candidate.combine == "all":
                every[candidate.policy.ref] = candidate.policy
                continue
            rank = (level, bool(candidate.policy.spec.from_))
            kind = candidate.policy.kind
            if kind not in best or rank > best[kind][0]:
                best[kind] = (rank, candidate)
        inline = {bound.kind: bound for bound in site.inline}
        found = [*every.values(), *inline.values()]
        found += [one.policy for kind, (_, one) in best.items() if kind not in inline]
        return tuple(sorted(found, key=lambda bound: (bound.order, bound.kind, bound.ref)))

    def _candidates(self, site: AttachmentPoint) -> Iterator[TargetedPolicyRef]:
        yield from self._mesh_wide
        route_kind, _, route_name = site.route.partition("/")
        places = (("Gateway", site.gateway), ("Service", site.service), (route_kind, route_name))
        for place in places:
            yield from self._by_target.get(place, ())


def conflicts(documents: tuple[PolicyDocument, ...]) -> Mapping[str, str]:
    """`Kind/name` of each document that loses to another at equal rank, with the winner's ref."""
    rivals: dict[tuple[str, ...], list[TargetedPolicyRef]] = defaultdict(list)
    for candidate in _targeted_refs(documents):
        if candidate.combine == "override":
            target = candidate.target
            place = (candidate.policy.kind, target.kind, target.name, target.section_name)
            rivals[place].append(candidate)
    lost: dict[str, str] = {}
    for group in rivals.values():
        ordered = sorted(group, key=lambda one: one.precedence)
        for index, loser in enumerate(ordered):
            for winner in ordered[:index]:
                if winner.document is not loser.document and _overlapping_callers(
                    winner.policy.spec.from_, loser.policy.spec.from_
                ):
                    lost.setdefault(loser.document.ref, winner.document.ref)
    return lost


def _overlapping_callers(left: tuple[str, ...], right: tuple[str, ...]) -> bool:
    return bool(set(left) & set(right)) if left and right else not left and not right


def _targeted_refs(documents: tuple[PolicyDocument, ...]) -> Iterator[TargetedPolicyRef]:
    for document in documents:
        policy = document.policy
        if not isinstance(policy, TargetedPolicy):
            continue
        bound = EffectivePolicy(policy.kind, policy.order, policy.spec, policy.ref)
        for target in policy.spec.target_refs:
            yield TargetedPolicyRef(document, bound, target, policy.combine)
