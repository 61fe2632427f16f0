"""Which policy is in force where: attachment, precedence and conflicts, from the documents of a world.

For an `override` kind the most specific one wins whole: a rule of a route, the route, the service for a named
caller, the service, the gateway, the mesh; at each step one with `from` beats one without. At equal rank the
document first created wins, then the name; the other is Conflicted. For an `all` kind every one applies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from control_plane.core.world import Document
from control_plane.policies.base import TargetedPolicy, TargetedSpec, TargetRef

MESH, GATEWAY, SERVICE, ROUTE, RULE = range(5)
"""Levels of attachment, widest first."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A spec in force at some place. `ref` is `Kind/name` of the document it came from."""

    kind: str
    order: int
    spec: TargetedSpec
    ref: str


@dataclass(frozen=True, slots=True)
class Site:
    """A place policies can be attached to. Empty names are places that are not there (no route, say)."""

    service: str = ""
    caller: str = ""
    gateway: str = ""
    route: str = ""
    rule: str = ""
    inline: tuple[Bound, ...] = ()
    """What the rule itself says (Gateway API's timeouts and retry)."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One targetRef of one document."""

    document: Document
    bound: Bound
    target: TargetRef
    combine: str

    @property
    def age(self) -> tuple[int, str]:
        """The order that decides a tie: first created, then by name."""
        return (self.document.created, self.document.policy.name)

    def level(self, site: Site) -> int | None:
        """How specifically this targets `site`; None when it does not."""
        callers = self.bound.spec.from_
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


def with_hook(bounds: Iterable[Bound], hook: str) -> tuple[Bound, ...]:
    """Those whose spec does something in `hook` (a method's name): nothing else may depend on the others."""
    default = getattr(TargetedSpec, hook)
    return tuple(one for one in bounds if getattr(type(one.spec), hook) is not default)


class Attachments:
    """An index of the targeted documents of one world."""

    def __init__(self, documents: tuple[Document, ...]) -> None:
        self._wide: list[Candidate] = []
        self._narrow: dict[tuple[str, str], list[Candidate]] = defaultdict(list)
        self._callers: dict[str, set[str]] = defaultdict(set)
        self._callers_anywhere: set[str] = set()
        for candidate in _candidates(documents):
            target = candidate.target
            if target.kind == "Mesh":
                self._wide.append(candidate)
                self._callers_anywhere.update(candidate.bound.spec.from_)
            else:
                self._narrow[target.kind, target.name].append(candidate)
                self._callers[f"{target.kind}/{target.name}"].update(candidate.bound.spec.from_)

    def callers(self, service: str, routes: tuple[str, ...]) -> frozenset[str]:
        """Callers for whom something differs at this service or these routes (`Kind/name`)."""
        names = set(self._callers_anywhere) | self._callers.get(f"Service/{service}", set())
        for route in routes:
            names |= self._callers.get(route, set())
        return frozenset(names)

    def at(self, site: Site) -> tuple[Bound, ...]:
        """What is in force at `site`, in the order the kinds run."""
        best: dict[str, tuple[tuple[int, bool], Candidate]] = {}
        every: dict[str, Bound] = {}
        for candidate in sorted(self._near(site), key=lambda one: one.age):
            level = candidate.level(site)
            if level is None:
                continue
            if candidate.combine == "all":
                every[candidate.bound.ref] = candidate.bound
                continue
            rank = (level, bool(candidate.bound.spec.from_))
            kind = candidate.bound.kind
            if kind not in best or rank > best[kind][0]:
                best[kind] = (rank, candidate)
        inline = {bound.kind: bound for bound in site.inline}
        found = [*every.values(), *inline.values()]
        found += [one.bound for kind, (_, one) in best.items() if kind not in inline]
        return tuple(sorted(found, key=lambda bound: (bound.order, bound.kind, bound.ref)))

    def _near(self, site: Site) -> Iterator[Candidate]:
        yield from self._wide
        route_kind, _, route_name = site.route.partition("/")
        places = (("Gateway", site.gateway), ("Service", site.service), (route_kind, route_name))
        for place in places:
            yield from self._narrow.get(place, ())


def conflicts(documents: tuple[Document, ...]) -> Mapping[str, str]:
    """`Kind/name` of each document that loses to another at equal rank, with the winner's ref."""
    rivals: dict[tuple[str, ...], list[Candidate]] = defaultdict(list)
    for candidate in _candidates(documents):
        if candidate.combine == "override":
            target = candidate.target
            place = (candidate.bound.kind, target.kind, target.name, target.section_name)
            rivals[place].append(candidate)
    lost: dict[str, str] = {}
    for group in rivals.values():
        ordered = sorted(group, key=lambda one: one.age)
        for index, loser in enumerate(ordered):
            for winner in ordered[:index]:
                if winner.document is not loser.document and _same_callers(
                    winner.bound.spec.from_, loser.bound.spec.from_
                ):
                    lost.setdefault(loser.document.ref, winner.document.ref)
    return lost


def _same_callers(left: tuple[str, ...], right: tuple[str, ...]) -> bool:
    return bool(set(left) & set(right)) if left and right else not left and not right


def _candidates(documents: tuple[Document, ...]) -> Iterator[Candidate]:
    for document in documents:
        policy = document.policy
        if not isinstance(policy, TargetedPolicy):
            continue
        bound = Bound(policy.kind, policy.order, policy.spec, policy.ref)
        for target in policy.spec.target_refs:
            yield Candidate(document, bound, target, policy.combine)
