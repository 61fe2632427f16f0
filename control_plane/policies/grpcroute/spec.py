"""Gateway API `GRPCRoute`: routes gRPC calls to a service or through a gateway."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from meshwright.control_plane.policies.base import OptionalObjectName, Spec
from meshwright.control_plane.policies.field_types import Hostname, Weight
from meshwright.control_plane.policies.grpcroute.matches import GRPCRouteMatch
from meshwright.control_plane.policies.httproute.backends import BackendObjectReference
from meshwright.control_plane.policies.httproute.filters import (
    HTTPHeaderFilter,
    HTTPRequestMirrorFilter,
    HTTPRouteFilter,
    check_filters,
)
from meshwright.control_plane.policies.httproute.parents import RoutePolicy, RouteSpec, check_route
from meshwright.control_plane.policies.httproute.spec import HTTPBackendRef, HTTPRouteRule


class GRPCRouteFilter(Spec):
    """One filter: `type` names the field that configures it."""

    type: Literal["RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror"] = Field(
        description="Which filter this is."
    )
    request_header_modifier: HTTPHeaderFilter | None = Field(None, description="Changes the call's metadata.")
    response_header_modifier: HTTPHeaderFilter | None = Field(
        None, description="Changes the response's initial metadata."
    )
    request_mirror: HTTPRequestMirrorFilter | None = Field(
        None, description="Copies calls to another backend."
    )

    @model_validator(mode="after")
    def _valid(self) -> Self:
        self.to_http()
        return self

    def to_http(self) -> HTTPRouteFilter:
        """The equivalent filter of an HTTPRoute; raises ValueError when there is none."""
        return HTTPRouteFilter(
            type=self.type,
            request_header_modifier=self.request_header_modifier,
            response_header_modifier=self.response_header_modifier,
            request_mirror=self.request_mirror,
        )


class GRPCBackendRef(BackendObjectReference):
    """A backend and its share of the calls. Without a port: the service's first gRPC port."""

    weight: Weight = Field(
        1, description="Its share: this weight over the sum of the rule's weights. 0: no calls."
    )
    filters: tuple[GRPCRouteFilter, ...] = Field(
        (), max_length=16, description="Filters for this backend's share only."
    )

    @field_validator("filters")
    @classmethod
    def _filters(cls, filters: tuple[GRPCRouteFilter, ...]) -> tuple[GRPCRouteFilter, ...]:
        check_filters(tuple(item.to_http() for item in filters))
        return filters

    def to_http(self) -> HTTPBackendRef:
        """The equivalent backend of an HTTPRoute."""
        return HTTPBackendRef(
            group=self.group,
            kind=self.kind,
            name=self.name,
            port=self.port,
            weight=self.weight,
            filters=tuple(item.to_http() for item in self.filters),
        )


class GRPCRouteRule(Spec):
    """Calls that match any of `matches` go to one of `backendRefs`, by weight."""

    name: OptionalObjectName = Field(
        "", description="Policies attach to the rule by this name (sectionName)."
    )
    matches: tuple[GRPCRouteMatch, ...] = Field(
        (GRPCRouteMatch(),), max_length=64, description="Alternatives. Omitted: every call."
    )
    filters: tuple[GRPCRouteFilter, ...] = Field(
        (), max_length=16, description="Changes to calls and responses."
    )
    backend_refs: tuple[GRPCBackendRef, ...] = Field(
        (), max_length=16, description="Where calls go. None: calls fail with UNAVAILABLE."
    )

    @field_validator("matches")
    @classmethod
    def _default_match(cls, matches: tuple[GRPCRouteMatch, ...]) -> tuple[GRPCRouteMatch, ...]:
        return matches or (GRPCRouteMatch(),)

    @field_validator("filters")
    @classmethod
    def _filters(cls, filters: tuple[GRPCRouteFilter, ...]) -> tuple[GRPCRouteFilter, ...]:
        check_filters(tuple(item.to_http() for item in filters))
        return filters

    def to_http(self) -> HTTPRouteRule:
        """The equivalent rule of an HTTPRoute, its matches in the same order."""
        return HTTPRouteRule(
            name=self.name,
            matches=tuple(match.to_http() for match in self.matches),
            filters=tuple(item.to_http() for item in self.filters),
            backend_refs=tuple(ref.to_http() for ref in self.backend_refs),
        )


class GRPCRouteSpec(RouteSpec):
    """Parents, host names and rules. The most specific match wins across all routes of a parent."""

    hostnames: tuple[Hostname, ...] = Field(
        (), max_length=16, description="At a Gateway, only these hosts. Empty: every host of the listener."
    )
    rules: tuple[GRPCRouteRule, ...] = Field(
        (GRPCRouteRule(),), min_length=1, max_length=16, description="Matches and backends."
    )

    @model_validator(mode="after")
    def _valid(self) -> Self:
        names = [rule.name for rule in self.rules]
        check_route(self.parent_refs, self.hostnames, names, sum(len(rule.matches) for rule in self.rules))
        return self

    def backend_references(self) -> Iterator[tuple[str, BackendObjectReference]]:
        """Every reference to a backend, of mirrors too, with its path in the document."""
        for index, rule in enumerate(self.rules):
            for path, ref in rule.to_http().references():
                yield f"spec.rules[{index}].{path}", ref


class GRPCRoute(RoutePolicy):
    """Routes gRPC calls (Gateway API v1 `GRPCRoute`).

    With a parentRef of kind Service it routes calls to that service inside the mesh; with kind Gateway, calls
    from outside (HTTP/2 without TLS). It matches gRPC calls only: other requests to an http port of the
    service are routed as if it did not exist. A call that no rule matches fails with UNIMPLEMENTED.
    """

    order: ClassVar[int] = 110

    api_version: Literal["gateway.networking.k8s.io/v1"] = Field(
        description="Always gateway.networking.k8s.io/v1."
    )
    kind: Literal["GRPCRoute"] = Field(description="Always GRPCRoute.")
    spec: GRPCRouteSpec = Field(description="Parents, host names and rules.")
