"""The World: one frozen picture of services, instances and policies, from which all configuration derives.

The store builds it and nobody changes it. Equal worlds give equal configuration.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from meshwright.control_plane.api.host_suffixes import DOMAINS, Domains
from meshwright.control_plane.api.models.instances import (
    INTERCEPT_HEADER_LABEL,
    INTERCEPT_PERCENT_LABEL,
    INTERCEPT_VALUE_LABEL,
    ZONE_LABEL,
    InstanceHealth,
    InstanceProcess,
    Port,
)
from meshwright.control_plane.policies.base import Policy

NO_PROCESS = InstanceProcess()
"""That of an instance whose agent says nothing about it."""

Labels = tuple[tuple[str, str], ...]
"""Key-value pairs, sorted."""


@dataclass(frozen=True, slots=True)
class Intercept:
    """Which requests of a service an instance takes for itself: those with a header, or a percentage."""

    header: str = ""
    value: str = ""
    percent: int = 0

    @property
    def id(self) -> str:
        """Six hexadecimal digits, the same wherever the intercept is the same."""
        return blake2b(f"{self.header}={self.value} {self.percent}".encode(), digest_size=3).hexdigest()

    @property
    def labels(self) -> Labels:
        """The labels that make an instance intercept."""
        if self.percent:
            return ((INTERCEPT_PERCENT_LABEL, str(self.percent)),)
        return ((INTERCEPT_HEADER_LABEL, self.header), (INTERCEPT_VALUE_LABEL, self.value))


def intercept_of(labels: Mapping[str, str]) -> Intercept | None:
    """What an instance with these labels intercepts. Labels that make no sense intercept nothing."""
    header, value = labels.get(INTERCEPT_HEADER_LABEL, "").lower(), labels.get(INTERCEPT_VALUE_LABEL, "")
    if header and value:
        return Intercept(header, value)
    percent = labels.get(INTERCEPT_PERCENT_LABEL, "")
    return (
        Intercept(percent=int(percent))
        if percent.isascii() and percent.isdigit() and 1 <= int(percent) <= 100
        else None
    )


@dataclass(frozen=True, slots=True)
class Instance:
    """One running instance of a service; `address` and `port` are its sidecar's inbound listener.

    The fields from `health` on are those of its InstanceCondition. `health_path` is what it declares. `ports`
    are its own; None: those of its service.
    """

    name: str
    address: str
    port: int
    labels: Labels = ()
    health: InstanceHealth = "healthy"
    reason: str = ""
    last_resort: bool = False
    restarts: int = 0
    last_exit: str = ""
    process: InstanceProcess = NO_PROCESS
    health_path: str = ""
    ports: tuple[Port, ...] | None = None

    @property
    def zone(self) -> str:
        """The zone it runs in; empty when unknown."""
        return dict(self.labels).get(ZONE_LABEL, "")

    @property
    def intercept(self) -> Intercept | None:
        """Which requests it takes for itself; None: it is an instance like the others."""
        return intercept_of(dict(self.labels))

    def matches(self, labels: Labels) -> bool:
        """Whether this instance carries all of `labels`."""
        values = dict(self.labels)
        return all(values.get(key) == value for key, value in labels)

    def has(self, port: Port) -> bool:
        """Whether it has a port of this name or protocol: versions of a service may differ in names."""
        ports = (port,) if self.ports is None else self.ports
        return any(port.name == each.name or port.protocol == each.protocol for each in ports)

    def serves(self, port: Port, labels: Labels, intercept: Intercept | None) -> bool:
        """Whether it gets the requests to a port for instances with `labels`, or those of an intercept."""
        return self.intercept == intercept and self.has(port) and self.matches(labels)


def _distinct_intercepts(instances: Iterable[Instance]) -> tuple[Intercept, ...]:
    intercepts = {instance.intercept for instance in instances}
    return tuple(sorted((i for i in intercepts if i), key=lambda i: (i.header, i.value, i.percent)))


@dataclass(frozen=True, slots=True)
class Departure:
    """How the last instance of a service left, at `time` in seconds since the epoch.

    `failure` says why, if it was not as planned; empty: it left cleanly, and the service is idle.
    """

    time: float
    instance: str = ""
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """A service that has registered and was not forgotten. `instances` are sorted by name and may be empty.

    `departure` is set for a service without instances.
    """

    name: str
    ports: tuple[Port, ...]
    instances: tuple[Instance, ...] = ()
    departure: Departure | None = None

    @property
    def health_path(self) -> str:
        """The health path that the first instance with one declares; empty without."""
        return next((instance.health_path for instance in self.instances if instance.health_path), "")

    @property
    def intercepts(self) -> tuple[Intercept, ...]:
        """What its instances intercept, each once."""
        return _distinct_intercepts(self.instances)

    @property
    def intercepts_in_force(self) -> tuple[tuple[str, tuple[Intercept, ...]], ...]:
        """Those that get requests, by port: an instance that is unhealthy or lacks it gets none."""
        able = [item for item in self.instances if item.health != "unhealthy"]
        return tuple(
            (port.name, _distinct_intercepts(item for item in able if item.has(port))) for port in self.ports
        )

    @property
    def is_idle(self) -> bool:
        """Whether it has no instances and nothing failed: the last one left cleanly, or nobody calls it."""
        failed = self.departure is not None and bool(self.departure.failure)
        return not self.instances and not (failed and self.ports)


@dataclass(frozen=True, slots=True)
class PolicyDocument:
    """A policy document of the world's revision.

    `created` is the revision that first contained this kind and name: the older document wins a conflict.
    `generation` is the revision that changed the document last.
    """

    policy: Policy
    created: int = 0
    generation: int = 0

    @property
    def ref(self) -> str:
        """`Kind/name`, as users and route metadata write it."""
        return self.policy.ref


@dataclass(frozen=True, slots=True)
class World:
    """Everything that configuration depends on. `documents` are sorted by kind, then name.

    `gateways` exist even without a Gateway document. `external_allowed`: sidecars pass on calls to hosts
    outside the mesh, unless their application says otherwise. `patches_allowed`: EnvoyPatch is in force.
    `gateway_instances`: the proxies of each gateway that take calls of sidecars to hosts outside. A world can
    be pickled, for a process that translates it.
    """

    revision: int
    services: Mapping[str, Service] = field(default_factory=dict)
    documents: tuple[PolicyDocument, ...] = ()
    gateways: tuple[str, ...] = ("ingress",)
    trust_domain: str = "mesh.local"
    external_allowed: bool = True
    patches_allowed: bool = True
    domains: Domains = DOMAINS
    gateway_instances: Mapping[str, tuple[Instance, ...]] = field(default_factory=dict)

    def instances_of(self, owner: str) -> tuple[Instance, ...]:
        """Those of a service, or of `gateway/name`."""
        role, _, name = owner.rpartition("/")
        if role:
            return self.gateway_instances.get(name, ())
        return self.services[name].instances if name in self.services else ()
