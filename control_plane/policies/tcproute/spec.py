"""Gateway API `TCPRoute`: routes connections to a TCP service or through a gateway, by weight."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from meshwright.control_plane.policies.base import OptionalObjectName, Spec
from meshwright.control_plane.policies.field_types import Weight
from meshwright.control_plane.policies.httproute.backends import BackendObjectReference
from meshwright.control_plane.policies.httproute.parents import RoutePolicy, RouteSpec, check_route


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


class TCPRouteSpec(RouteSpec):
    """Parents and the single rule."""

    rules: tuple[TCPRouteRule, ...] = Field(
        min_length=1, max_length=1, description="One rule: connections have nothing to match on."
    )

    @model_validator(mode="after")
    def _valid(self) -> Self:
        check_route(self.parent_refs, (), (), 1)
        return self

    def backend_references(self) -> Iterator[tuple[str, BackendObjectReference]]:
        """Every reference to a backend with its path in the document."""
        for index, ref in enumerate(self.rules[0].backend_refs):
            yield f"spec.rules[0].backendRefs[{index}]", ref


class TCPRoute(RoutePolicy):
    """Routes connections to a TCP service or through a Gateway (Gateway API v1 `TCPRoute`).

    With a parentRef of kind Service it applies to callers that declare the service in their `upstreams`; with
    kind Gateway, to connections to a listener of protocol TCP. Established connections stay where they are.
    When two routes have the same parent, the older one applies.
    """

    order: ClassVar[int] = 120

    api_version: Literal["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1alpha2"] = Field(
        description="gateway.networking.k8s.io/v1, or v1alpha2 with the same meaning."
    )
    kind: Literal["TCPRoute"] = Field(description="Always TCPRoute.")
    spec: TCPRouteSpec = Field(description="Parents and backends.")
