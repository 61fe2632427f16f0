"""The mesh that a file of cases needs: its services with their instances, and its gateways. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from meshwright.cli.policy_tests.spec import PolicyCase, TestedService
from meshwright.control_plane.api.host_suffixes import DOMAINS, Domains, service_in
from meshwright.control_plane.policies.base import Policy
from meshwright.control_plane.policies.gateway.spec import Gateway
from meshwright.control_plane.policies.httproute.backends import BackendObjectReference
from meshwright.control_plane.policies.httproute.matches import HTTPRouteMatch
from meshwright.control_plane.policies.httproute.parents import RoutePolicy
from meshwright.control_plane.policies.httproute.spec import HTTPRoute
from meshwright.control_plane.policies.subset.spec import Subset

LabelPairs = tuple[tuple[str, str], ...]

NOT_NORMAL = ("/.", "//", "%", "\\")
"""Parts of a path that a gateway may replace before it looks for a route."""


@dataclass(frozen=True, slots=True)
class PlannedInstance:
    """An instance that the command plays. `port` is the number that callers use."""

    name: str
    service: str
    labels: LabelPairs = ()
    port: int = 80


@dataclass(frozen=True, slots=True)
class PlannedGateway:
    """A gateway: its listeners by name, and the one that requests are sent to."""

    name: str
    listeners: tuple[str, ...] = ("http",)
    entry: str = "http"


@dataclass(frozen=True, slots=True)
class MeshPlan:
    """What runs for the cases. `subsets` are those of the policies, by name."""

    instances: tuple[PlannedInstance, ...]
    gateways: tuple[PlannedGateway, ...]
    subsets: Mapping[str, Subset]

    def selects(self, name: str, instance: PlannedInstance) -> bool:
        """Whether an instance is of the service, or the Subset, of this name. A service comes first."""
        if self.has_instance(name):
            return instance.service == name
        subset = self.subsets.get(name)
        if subset is None:
            return False
        spec = subset.spec
        return instance.service == spec.service and set(spec.labels) <= set(instance.labels)

    def has_instance(self, service: str) -> bool:
        """Whether a service has an instance."""
        return any(each.service == service for each in self.instances)

    @property
    def services(self) -> list[str]:
        """The services with an instance, sorted."""
        return sorted({each.service for each in self.instances})


def plan_mesh(
    cases: Sequence[PolicyCase],
    declared: Sequence[TestedService],
    policies: Sequence[Policy],
    domains: Domains = DOMAINS,
) -> MeshPlan:
    """The mesh for these cases under these policies. `domains`: those in which services have names."""
    subsets = {each.metadata.name: each for each in policies if isinstance(each, Subset)}
    gateways = sorted({case.from_.gateway for case in cases if case.from_.gateway})
    names = {entry.name for entry in declared}
    services = {*names, *_called_services(cases, subsets, names, domains)}
    routes = [each for each in policies if isinstance(each, RoutePolicy)]
    services |= set(_behind_gateways(routes, cases, subsets))
    while reached := set(_behind_services(routes, services, subsets)) - services:
        services |= reached
    documents = {each.metadata.name: each for each in policies if isinstance(each, Gateway)}
    return MeshPlan(
        tuple(each for name in sorted(services) for each in _instances(name, declared, subsets.values())),
        tuple(_gateway(name, documents.get(name)) for name in gateways),
        subsets,
    )


def _called_services(
    cases: Iterable[PolicyCase], subsets: Mapping[str, Subset], declared: set[str], domains: Domains
) -> Iterator[str]:
    """The services that cases name, as callers, as hosts, or in what they expect."""
    for case in cases:
        host = service_in(case.request.host, domains)
        if case.from_.service:
            yield case.from_.service
            if "." not in host and host not in declared:
                yield host
        expect = case.expect
        names = (
            expect.answered_by,
            expect.mirrored_to,
            *expect.shares,
            *(item.name for item in case.respond),
        )
        for name in names:
            if name:
                yield subsets[name].spec.service if name in subsets and name not in declared else name


def _behind_gateways(
    routes: Iterable[RoutePolicy], cases: Iterable[PolicyCase], subsets: Mapping[str, Subset]
) -> Iterator[str]:
    """The services that gateways may send the requests of cases to, by the paths of their rules."""
    paths: dict[str, list[str]] = {}
    for case in cases:
        if case.from_.gateway:
            paths.setdefault(case.from_.gateway, []).append(case.request.path)
    for route in routes:
        parents = [ref.name for ref in route.spec.parent_refs if ref.kind == "Gateway"]
        for path in (path for name in parents for path in paths.get(name, ())):
            for backend in _backends(route, path):
                yield from _service_of(backend, subsets)


def _behind_services(
    routes: Iterable[RoutePolicy], services: set[str], subsets: Mapping[str, Subset]
) -> Iterator[str]:
    """The services that the routes of these services lead to."""
    for route in routes:
        if any(ref.kind == "Service" and ref.name in services for ref in route.spec.parent_refs):
            for _, backend in route.spec.backend_references():
                yield from _service_of(backend, subsets)


def _backends(route: RoutePolicy, path: str) -> Iterator[BackendObjectReference]:
    """The backends of the rules that may match a path; for other kinds than HTTPRoute all of them."""
    if not isinstance(route, HTTPRoute):
        yield from (backend for _, backend in route.spec.backend_references())
        return
    for rule in route.spec.rules:
        if any(_may_match(match, path) for match in rule.matches):
            yield from (backend for _, backend in rule.references())


def _may_match(match: HTTPRouteMatch, path: str) -> bool:
    """Whether a match is not out of the question: a gateway may normalise the path before."""
    if match.path.type == "RegularExpression" or any(sign in path for sign in NOT_NORMAL):
        return True
    return path.startswith(match.path.value.rstrip("/"))


def _service_of(backend: BackendObjectReference, subsets: Mapping[str, Subset]) -> Iterator[str]:
    if backend.kind == "Service":
        yield backend.name
    elif backend.kind == "Subset" and backend.name in subsets:
        yield subsets[backend.name].spec.service


def _instances(
    service: str, entries: Sequence[TestedService], subsets: Iterable[Subset]
) -> Iterator[PlannedInstance]:
    """The instances of a service: those declared, else one for each Subset, else one."""
    declared = [entry for entry in entries if entry.name == service]
    selected = dict.fromkeys(each.spec.labels for each in subsets if each.spec.service == service)
    variants: list[tuple[LabelPairs, int]] = [
        (entry.labels, entry.port) for entry in declared for _ in range(entry.replicas)
    ]
    if not declared:
        variants = [(labels, 80) for labels in selected or ((),)]
    for number, (labels, port) in enumerate(variants, 1):
        yield PlannedInstance(f"{service}-{number}", service, labels, port)


def _gateway(name: str, document: Gateway | None) -> PlannedGateway:
    """A gateway; requests are sent to its first listener for HTTP."""
    if document is None:
        return PlannedGateway(name)
    listeners = document.spec.listeners
    plain = [each.name for each in listeners if each.protocol == "HTTP"]
    return PlannedGateway(name, tuple(each.name for each in listeners), plain[0] if plain else "http")
