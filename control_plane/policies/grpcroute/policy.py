"""Gateway API `GRPCRoute`: where gRPC calls to a service, or through a gateway, go."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from control_plane.policies.base import Combine, OptionalName, Policy, Spec
from control_plane.policies.fields import Hostname, Weight
from control_plane.policies.grpcroute.matches import CallMatch
from control_plane.policies.httproute.backends import BackendTarget
from control_plane.policies.httproute.filters import HeaderModifier, RequestMirror, RouteFilter, check_filters
from control_plane.policies.httproute.policy import BackendRef, ParentRef, RouteRule, check_route


class CallFilter(Spec):
    """One filter: `type` says which of the other fields holds what it does."""

    type: Literal["RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror"] = Field(
        description="Which filter this is."
    )
    request_header_modifier: HeaderModifier | None = Field(None, description="Changes the call's metadata.")
    response_header_modifier: HeaderModifier | None = Field(
        None, description="Changes the initial metadata of the answer."
    )
    request_mirror: RequestMirror | None = Field(None, description="Copies calls to another backend.")

    @model_validator(mode="after")
    def _valid(self) -> Self:
        self.as_http()
        return self

    def as_http(self) -> RouteFilter:
        """The same as a filter of an HTTPRoute; raises ValueError when it is none."""
        return RouteFilter(
            type=self.type,
            request_header_modifier=self.request_header_modifier,
            response_header_modifier=self.response_header_modifier,
            request_mirror=self.request_mirror,
        )


class CallBackendRef(BackendTarget):
    """A backend and its share of the calls. Without a port, the service's first gRPC port."""

    weight: Weight = Field(
        1, description="Its share: weight over the sum of the rule's weights. 0: no calls."
    )
    filters: tuple[CallFilter, ...] = Field(
        (), max_length=16, description="Only header modifiers: changes for this backend alone."
    )

    @field_validator("filters")
    @classmethod
    def _headers_only(cls, filters: tuple[CallFilter, ...]) -> tuple[CallFilter, ...]:
        if any(item.type == "RequestMirror" for item in filters):
            raise ValueError("RequestMirror cannot stand at a backend: put it in the rule's filters")
        check_filters(tuple(item.as_http() for item in filters))
        return filters

    def as_http(self) -> BackendRef:
        """The same as a backend of an HTTPRoute."""
        return BackendRef(
            group=self.group,
            kind=self.kind,
            name=self.name,
            port=self.port,
            weight=self.weight,
            filters=tuple(item.as_http() for item in self.filters),
        )


class CallRule(Spec):
    """Calls that match any of `matches` go to one of `backendRefs`, by weight."""

    name: OptionalName = Field("", description="Policies attach to the rule by it (sectionName).")
    matches: tuple[CallMatch, ...] = Field(
        (CallMatch(),), max_length=64, description="Alternatives; left out: every call."
    )
    filters: tuple[CallFilter, ...] = Field((), max_length=16, description="Changes on the way.")
    backend_refs: tuple[CallBackendRef, ...] = Field(
        (), max_length=16, description="Where calls go. None: answered with UNAVAILABLE."
    )

    @field_validator("matches")
    @classmethod
    def _some_match(cls, matches: tuple[CallMatch, ...]) -> tuple[CallMatch, ...]:
        return matches or (CallMatch(),)

    @field_validator("filters")
    @classmethod
    def _filters(cls, filters: tuple[CallFilter, ...]) -> tuple[CallFilter, ...]:
        check_filters(tuple(item.as_http() for item in filters))
        return filters

    def as_http(self) -> RouteRule:
        """The same as a rule of an HTTPRoute, its matches in the same order."""
        return RouteRule(
            name=self.name,
            matches=tuple(match.as_http() for match in self.matches),
            filters=tuple(item.as_http() for item in self.filters),
            backend_refs=tuple(ref.as_http() for ref in self.backend_refs),
        )


class GRPCRouteSpec(Spec):
    """Parents, host names and rules. The most specific match wins, across all routes of a parent."""

    parent_refs: tuple[ParentRef, ...] = Field(
        min_length=1, max_length=32, description="The Services or Gateways whose calls it takes."
    )
    hostnames: tuple[Hostname, ...] = Field(
        (), max_length=16, description="Only these hosts, at a Gateway; empty: every host of the listener."
    )
    rules: tuple[CallRule, ...] = Field(
        (CallRule(),), min_length=1, max_length=16, description="What goes where."
    )

    @model_validator(mode="after")
    def _valid(self) -> Self:
        names = [rule.name for rule in self.rules]
        check_route(self.parent_refs, self.hostnames, names, sum(len(rule.matches) for rule in self.rules))
        return self


class GRPCRoute(Policy):
    """Says where gRPC calls go (Gateway API v1 `GRPCRoute`).

    With a parentRef of kind Service it steers calls to that service inside the mesh, with one of kind Gateway
    the calls from outside (HTTP/2 in the clear). It takes gRPC calls only: other requests to an http port of
    the service go their own way. A call that no rule matches is answered with UNIMPLEMENTED.
    """

    combine: ClassVar[Combine] = "resource"
    order: ClassVar[int] = 110

    api_version: Literal["gateway.networking.k8s.io/v1"] = Field(
        description="Always gateway.networking.k8s.io/v1."
    )
    kind: Literal["GRPCRoute"] = Field(description="Always GRPCRoute.")
    spec: GRPCRouteSpec = Field(description="Parents, host names and rules.")
