"""The World: one frozen picture of services, instances and policies, from which all configuration derives.

The store builds it and nobody changes it. Equal worlds give equal configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from meshwright.control_plane.api.models.instances import ZONE_LABEL, InstanceHealth, Port
from meshwright.control_plane.policies.base import Policy

Labels = tuple[tuple[str, str], ...]
"""Key-value pairs, sorted."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One running instance of a service; `address` and `port` are its sidecar's inbound listener."""

    name: str
    address: str
    port: int
    labels: Labels = ()
    health: InstanceHealth = "healthy"

    @property
    def zone(self) -> str:
        """The zone it runs in; empty when unknown."""
        return dict(self.labels).get(ZONE_LABEL, "")

    def matches(self, labels: Labels) -> bool:
        """Whether this instance carries all of `labels`."""
        values = dict(self.labels)
        return all(values.get(key) == value for key, value in labels)


@dataclass(frozen=True, slots=True)
class Service:
    """A service that has registered at least once. `instances` are sorted by name and may be empty."""

    name: str
    ports: tuple[Port, ...]
    instances: tuple[Instance, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyDocument:
    """A policy document of the world's revision.

    `created` is the revision that first contained this kind and name: the older document wins a conflict.
    """

    policy: Policy
    created: int = 0

    @property
    def ref(self) -> str:
        """`Kind/name`, as users and route metadata write it."""
        return self.policy.ref


@dataclass(frozen=True, slots=True)
class World:
    """Everything that configuration depends on. `documents` are sorted by kind, then name.

    `gateways` exist even without a Gateway document.
    """

    revision: int
    services: Mapping[str, Service] = field(default_factory=lambda: MappingProxyType({}))
    documents: tuple[PolicyDocument, ...] = ()
    gateways: tuple[str, ...] = ("ingress",)
    trust_domain: str = "mesh.local"
