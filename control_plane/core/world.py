"""The world: one frozen picture of services, instances, policies and trust, from which all else follows.

The store builds it, nobody changes it. Two worlds that are equal give equal configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from meshwright.control_plane.api.models.instances import ZONE_LABEL, InstanceHealth, Port
from meshwright.control_plane.policies.base import Policy

Labels = tuple[tuple[str, str], ...]
"""Sorted key-value pairs."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One running copy of a service: where its sidecar's inbound listener is, and how it feels."""

    name: str
    address: str
    port: int
    labels: Labels = ()
    health: InstanceHealth = "healthy"

    @property
    def zone(self) -> str:
        """Where it runs; empty when that is not known."""
        return dict(self.labels).get(ZONE_LABEL, "")

    def matches(self, labels: Labels) -> bool:
        """Whether this instance carries all of `labels`."""
        own = dict(self.labels)
        return all(own.get(key) == value for key, value in labels)


@dataclass(frozen=True, slots=True)
class Service:
    """A service that has registered at least once; `instances` are sorted by name and may be none."""

    name: str
    ports: tuple[Port, ...]
    instances: tuple[Instance, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyDocument:
    """A policy document of the world's revision.

    `created` is the revision that first had this kind and name: the older one wins a conflict.
    """

    policy: Policy
    created: int = 0

    @property
    def ref(self) -> str:
        """`Kind/name`, as users and provenance write it."""
        return self.policy.ref


@dataclass(frozen=True, slots=True)
class World:
    """Everything that configuration depends on. `documents` are sorted by kind, then name.

    `gateways` are those that exist even without a Gateway document.
    """

    revision: int
    services: Mapping[str, Service] = field(default_factory=lambda: MappingProxyType({}))
    documents: tuple[PolicyDocument, ...] = ()
    gateways: tuple[str, ...] = ("ingress",)
    trust_domain: str = "mesh.local"
