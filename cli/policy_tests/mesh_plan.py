"""The mesh that a file of cases needs: its services with their instances, and its gateways. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from meshwright.cli.policy_tests.spec import PolicyCase, PolicyTestSpec
from meshwright.control_plane.policies.base import Policy
from meshwright.control_plane.policies.gateway.spec import Gateway
from meshwright.control_plane.policies.httproute.backends import BackendObjectReference
from meshwright.control_plane.policies.httproute.parents import RoutePolicy
from meshwright.control_plane.policies.subset.spec import Subset

LabelPairs = tuple[tuple[str, str], ...]

DOMAIN = ".mesh"
"""A service is also called by its name and this."""


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


def plan_mesh(spec: PolicyTestSpec, policies: Sequence[Policy]) -> MeshPlan:
    """The mesh for these cases under these policies."""
    subsets = {each.metadata.name: each for each in policies if isinstance(each, Subset)}
    gateways = sorted({case.from_.gateway for case in spec.cases if case.from_.gateway})
    declared = {entry.name for entry in spec.services}
    services = {*declared, *_called_services(spec.cases, subsets, declared)}
    routes = [each for each in policies if isinstance(each, RoutePolicy)]
    while reached := set(_backends(routes, services, gateways, subsets)) - services:
        services |= reached
    documents = {each.metadata.name: each for each in policies if isinstance(each, Gateway)}
    return MeshPlan(
        tuple(each for name in sorted(services) for each in _instances(name, spec, subsets.values())),
        tuple(_gateway(name, documents.get(name)) for name in gateways),
        subsets,
    )


def _called_services(
    cases: Iterable[PolicyCase], subsets: Mapping[str, Subset], declared: set[str]
) -> Iterator[str]:
    """The services that cases name, as callers, as hosts, or in what they expect."""
    for case in cases:
        host = case.request.host.removesuffix(DOMAIN)
        if case.from_.service:
            yield case.from_.service
            if "." not in host and host not in declared:
                yield host
        expect = case.expect
        answers = (
            expect.answered_by,
            expect.mirrored_to,
            *expect.shares,
            *(item.name for item in case.respond),
        )
        for name in answers:
            if name:
                yield subsets[name].spec.service if name in subsets and name not in declared else name


def _backends(
    routes: Iterable[RoutePolicy], services: set[str], gateways: Sequence[str], subsets: Mapping[str, Subset]
) -> Iterator[str]:
    """The services that the routes of these services and gateways lead to."""
    parents = {("Service", name) for name in services} | {("Gateway", name) for name in gateways}
    for route in routes:
        if any((ref.kind, ref.name) in parents for ref in route.spec.parent_refs):
            for _, backend in route.spec.backend_references():
                yield from _service_of(backend, subsets)


def _service_of(backend: BackendObjectReference, subsets: Mapping[str, Subset]) -> Iterator[str]:
    if backend.kind == "Service":
        yield backend.name
    elif backend.kind == "Subset" and backend.name in subsets:
        yield subsets[backend.name].spec.service


def _instances(service: str, spec: PolicyTestSpec, subsets: Iterable[Subset]) -> Iterator[PlannedInstance]:
    """The instances of a service: those declared, else one for each Subset, else one."""
    declared = [entry for entry in spec.services if entry.name == service]
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
