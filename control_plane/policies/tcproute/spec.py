"""Gateway API `TCPRoute`: routes connections to a TCP service, by weight."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from meshwright.control_plane.api.models.base import Name
from meshwright.control_plane.policies.base import Combine, OptionalObjectName, Policy, RouteMetadata, Spec
from meshwright.control_plane.policies.field_types import NoNamespace, PortNumber, Weight, check_distinct
from meshwright.control_plane.policies.httproute.backends import BackendObjectReference


class TCPParentReference(Spec):
    """The service whose connections the route matches."""

    group: Literal["", "core"] = Field("", description="Accepted for Gateway API compatibility and ignored.")
    kind: Literal["Service"] = Field(description="Always Service: gateways accept HTTP only.")
    namespace: NoNamespace = Field("", description="Must be empty: a mesh has no namespaces.")
    name: Name = Field(description="The Service.")
    port: PortNumber | None = Field(
        None, description="Only this tcp port of the service. Omitted: every tcp port."
    )


class TCPBackendRef(BackendObjectReference):
    """A backend and its share of the connections. Without a port: the service's first tcp port."""

    weight: Weight = Field(
        1, description="Its share: this weight over the sum of the rule's weights. 0: no connections."
    )


class TCPRouteRule(Spec):
    """Every connection goes to one of `backendRefs`, by weight."""

    name: OptionalObjectName = Field("", description="For people; the mesh ignores it.")
    backend_refs: tuple[TCPBackendRef, ...] = Field(
        min_length=1, max_length=16, description="Where connections go."
    )


class TCPRouteSpec(Spec):
    """Parents and the single rule."""

    parent_refs: tuple[TCPParentReference, ...] = Field(
        min_length=1, max_length=32, description="The Services whose connections it routes."
    )
    rules: tuple[TCPRouteRule, ...] = Field(
        min_length=1, max_length=1, description="One rule: connections have nothing to match on."
    )

    @model_validator(mode="after")
    def _valid(self) -> Self:
        check_distinct((f"{ref.name} {ref.port or ''}".rstrip() for ref in self.parent_refs), "parent")
        return self


class TCPRoute(Policy):
    """Routes connections to a TCP service (Gateway API v1 `TCPRoute`).

    It applies to callers that declare the service in their `upstreams`. Established connections stay where
    they are. When two routes have the same parent, the older one applies.
    """

    combine: ClassVar[Combine] = "resource"
    order: ClassVar[int] = 120

    api_version: Literal["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1alpha2"] = Field(
        description="gateway.networking.k8s.io/v1, or v1alpha2 with the same meaning."
    )
    kind: Literal["TCPRoute"] = Field(description="Always TCPRoute.")
    metadata: RouteMetadata = Field(description="Name, labels and annotations.")
    spec: TCPRouteSpec = Field(description="Parents and backends.")
