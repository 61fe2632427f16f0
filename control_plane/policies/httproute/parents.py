"""What the routes of all kinds share: parents, names of objects, one namespace (Gateway API v1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from meshwright.control_plane.policies.base import (
    Combine,
    ObjectName,
    OptionalObjectName,
    Policy,
    Spec,
)
from meshwright.control_plane.policies.field_types import NoNamespace, PortNumber, check_distinct
from meshwright.control_plane.policies.httproute.backends import BackendObjectReference
from meshwright.control_plane.policies.own_namespace import drop_own_namespace

MAX_MATCHES = 128


class ParentReference(Spec):
    """Whose traffic the route matches: that to a Service in the mesh, or that through a Gateway."""

    group: Literal["", "core", "gateway.networking.k8s.io"] = Field(
        "", description="Accepted for Gateway API compatibility and ignored."
    )
    kind: Literal["Gateway", "Service"] = Field("Gateway", description="The kind of `name`.")
    namespace: NoNamespace = Field("", description="Empty or the route's own: a mesh has one namespace.")
    name: ObjectName = Field(description="The Gateway or Service.")
    section_name: OptionalObjectName = Field(
        "", description="A listener of the Gateway, or a port of the Service by name. Empty: every one."
    )
    port: PortNumber | None = Field(None, description="Only this port of the parent. Omitted: every port.")

    @model_validator(mode="after")
    def _valid_service(self) -> Self:
        if self.kind == "Service" and self.group == "gateway.networking.k8s.io":
            raise ValueError("a Service has group '': change group or leave it out")
        return self


class RouteSpec(Spec):
    """The spec of a route of any kind."""

    parent_refs: tuple[ParentReference, ...] = Field(
        (),
        max_length=32,
        description="The Services or Gateways whose traffic it routes. None: the route does nothing.",
    )

    def backend_references(self) -> Iterator[tuple[str, BackendObjectReference]]:
        """Every reference to a backend, of mirrors too, with its path in the document."""
        raise NotImplementedError


class RoutePolicy(Policy):
    """A route of any kind; what it refers to is in its own namespace."""

    combine: ClassVar[Combine] = "resource"

    spec: RouteSpec

    @model_validator(mode="before")
    @classmethod
    def _drop_own_namespace(cls, document: Any) -> Any:
        return drop_own_namespace(document) if isinstance(document, Mapping) else document


def check_route(
    parents: Iterable[ParentReference], hostnames: Iterable[str], rules: Iterable[str], matches: int
) -> None:
    """Check what holds for a route of any kind; raises ValueError.

    `rules` are the rules' names, `matches` is the number of matches in all rules.
    """
    check_distinct((name for name in rules if name), "rule")
    check_distinct(hostnames, "host name")
    refs = (f"{ref.kind} {ref.name} {ref.section_name} {ref.port or ''}".rstrip() for ref in parents)
    check_distinct(refs, "parent")
    if matches > MAX_MATCHES:
        raise ValueError(f"more than {MAX_MATCHES} matches in one route: split it")
