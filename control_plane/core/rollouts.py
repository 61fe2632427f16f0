"""Routes with the weights, mirrors and testers of the rollouts that decide about them. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from meshwright.control_plane.core.world import PolicyDocument
from meshwright.control_plane.policies.grpcroute.spec import (
    GRPCBackendRef,
    GRPCRoute,
    GRPCRouteFilter,
    GRPCRouteRule,
)
from meshwright.control_plane.policies.httproute.backends import BackendObjectReference
from meshwright.control_plane.policies.httproute.filters import HTTPRequestMirrorFilter, HTTPRouteFilter
from meshwright.control_plane.policies.httproute.spec import HTTPBackendRef, HTTPRoute, HTTPRouteRule
from meshwright.control_plane.policies.rollout.progress import progress_of
from meshwright.control_plane.policies.rollout.spec import Rollout, RolloutSpec

RequestRoute: TypeAlias = HTTPRoute | GRPCRoute
RouteRule: TypeAlias = HTTPRouteRule | GRPCRouteRule
BackendRef: TypeAlias = HTTPBackendRef | GRPCBackendRef

HUNDRED = 100


class Rollouts:
    """The rollouts of one set of documents, by route. Of several for one rule the oldest is applied first."""

    def __init__(self, documents: Iterable[PolicyDocument]) -> None:
        self._by_route: dict[str, list[Rollout]] = defaultdict(list)
        ordered = sorted(documents, key=lambda document: (document.created, document.ref))
        for document in ordered:
            if isinstance(document.policy, Rollout):
                self._by_route[document.policy.spec.route.ref].append(document.policy)

    def refs(self, route: str, rule: RouteRule) -> tuple[str, ...]:
        """`Kind/name` of the rollouts that decide about a rule of a route, which is `Kind/name` as well."""
        rollouts = self._by_route.get(route, ())
        return tuple(rollout.ref for rollout in rollouts if concerns(rollout.spec, rule))

    def applied(self, route: RequestRoute) -> RequestRoute:
        """A route as its rollouts make it; the route itself without any."""
        rollouts = self._by_route.get(route.ref, ())
        if not rollouts:
            return route
        rules: list[RouteRule] = list(route.spec.rules)
        for rollout in rollouts:
            change = _RuleChange(rollout)
            rules = [changed for rule in rules for changed in change.of(rule)]
        spec = route.spec.model_copy(update={"rules": tuple(rules)})
        return route.model_copy(update={"spec": spec})


def concerns(spec: RolloutSpec, rule: RouteRule) -> bool:
    """Whether a rollout decides about a rule of its route."""
    if spec.route.section_name and rule.name != spec.route.section_name:
        return False
    return any(is_backend(ref, spec.stable) or is_backend(ref, spec.canary) for ref in rule.backend_refs)


def is_backend(ref: BackendObjectReference, backend: BackendObjectReference) -> bool:
    """Whether a rule's backend is that of a rollout; one that names no port stands for every port."""
    same = (ref.kind, ref.name) == (backend.kind, backend.name)
    return same and (backend.port is None or ref.port == backend.port)


@dataclass(frozen=True)
class _RuleChange:
    """What a rollout does to rules."""

    rollout: Rollout

    def of(self, rule: RouteRule) -> Iterator[RouteRule]:
        """The rules in place of one: that of testers, and the rule with the current weights."""
        spec, progress = self.rollout.spec, progress_of(self.rollout)
        if not concerns(spec, rule):
            yield rule
            return
        if spec.testers and not progress.has_ended:
            matches = tuple(
                match.model_copy(update={"headers": (*match.headers, *spec.testers)})
                for match in rule.matches
            )
            only_canary = tuple(self._weighted(rule, HUNDRED))
            yield rule.model_copy(update={"matches": matches, "backend_refs": only_canary})
        filters = tuple(self._filters(rule, progress.mirror(spec)))
        refs = tuple(self._weighted(rule, progress.weight(spec)))
        yield rule.model_copy(update={"backend_refs": refs, "filters": filters})

    def _weighted(self, rule: RouteRule, percent: int) -> Iterator[BackendRef]:
        """The backends: the two share what they had together, the others keep their share."""
        spec = self.rollout.spec
        stable = [ref for ref in rule.backend_refs if is_backend(ref, spec.stable)]
        canary = [ref for ref in rule.backend_refs if is_backend(ref, spec.canary)]
        shared = sum(ref.weight for ref in (*stable, *canary))
        for ref in rule.backend_refs:
            if ref not in stable and ref not in canary:
                yield ref.model_copy(update={"weight": ref.weight * HUNDRED})
        for backend, present, share in (
            (spec.stable, stable, HUNDRED - percent),
            (spec.canary, canary, percent),
        ):
            # A rule may name a backend twice, with different filters: the first one represents it.
            ref = present[0] if present else _new_ref(rule, backend)
            yield ref.model_copy(update={"weight": shared * share})

    def _filters(self, rule: RouteRule, percent: int) -> Iterator[HTTPRouteFilter | GRPCRouteFilter]:
        yield from rule.filters
        if percent:
            canary = self.rollout.spec.canary
            new = GRPCRouteFilter if isinstance(rule, GRPCRouteRule) else HTTPRouteFilter
            copies = HTTPRequestMirrorFilter(backend_ref=canary, percent=percent)
            yield new(type="RequestMirror", request_mirror=copies)


def _new_ref(rule: RouteRule, backend: BackendObjectReference) -> BackendRef:
    new = GRPCBackendRef if isinstance(rule, GRPCRouteRule) else HTTPBackendRef
    return new(group=backend.group, kind=backend.kind, name=backend.name, port=backend.port)
