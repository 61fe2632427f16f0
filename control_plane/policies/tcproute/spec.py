"""Gateway API `TCPRoute`: where connections to a TCP service go, by weight."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from meshwright.control_plane.api.models.base import Name
from meshwright.control_plane.policies.base import Combine, OptionalName, Policy, Spec
from meshwright.control_plane.policies.field_types import NoNamespace, PortNumber, Weight, check_distinct
from meshwright.control_plane.policies.httproute.backends import BackendObjectReference


class TCPParentReference(Spec):
    """The service whose connections the route takes."""

    group: Literal["", "core"] = Field("", description="Accepted as Gateway API writes it.")
    kind: Literal["Service"] = Field(description="Always Service: a gateway takes HTTP only.")
    namespace: NoNamespace = Field("", description="Accepted when empty: a mesh has no namespaces.")
    name: Name = Field(description="The Service.")
    port: PortNumber | None = Field(
        None, description="Only this tcp port of the service; left out: all of them."
    )


class TCPBackendRef(BackendObjectReference):
    """A backend and its share of the connections. Without a port, the service's first tcp port."""

    weight: Weight = Field(
        1, description="Its share: weight over the sum of the rule's weights. 0: no connections."
    )


class TCPRouteRule(Spec):
    """Every connection goes to one of `backendRefs`, by weight."""

    name: OptionalName = Field("", description="A word for people; nothing depends on it.")
    backend_refs: tuple[TCPBackendRef, ...] = Field(
        min_length=1, max_length=16, description="Where connections go."
    )


class TCPRouteSpec(Spec):
    """Parents and the one rule."""

    parent_refs: tuple[TCPParentReference, ...] = Field(
        min_length=1, max_length=32, description="The Services whose connections it takes."
    )
    rules: tuple[TCPRouteRule, ...] = Field(
        min_length=1, max_length=1, description="One rule: a connection has nothing to match on."
    )

    @model_validator(mode="after")
    def _valid(self) -> Self:
        check_distinct((f"{ref.name} {ref.port or ''}".rstrip() for ref in self.parent_refs), "parent")
        return self


class TCPRoute(Policy):
    """Says where connections to a TCP service go (Gateway API v1alpha2 `TCPRoute`).

    It holds for the callers that declared the service among their `upstreams`. Connections that stand stay
    where they are; where two routes have one parent, the older one holds.
    """

    combine: ClassVar[Combine] = "resource"
    order: ClassVar[int] = 120

    api_version: Literal["gateway.networking.k8s.io/v1alpha2"] = Field(
        description="Always gateway.networking.k8s.io/v1alpha2."
    )
    kind: Literal["TCPRoute"] = Field(description="Always TCPRoute.")
    spec: TCPRouteSpec = Field(description="Parents and where connections go.")
