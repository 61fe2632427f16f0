"""HeaderPolicy: request and response headers are set, added and removed on the caller's side."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from meshwright.control_plane.policies.base import (
    Combine,
    TargetedPolicy,
    TargetedSpec,
    TargetKind,
    TargetRef,
)
from meshwright.control_plane.policies.field_types import HeaderValue
from meshwright.control_plane.policies.httproute.filters import HTTPHeader, HTTPHeaderFilter
from meshwright.control_plane.policies.trusted_headers import check_spelling

Variable = Literal[
    "source.address",
    "source.principal",
    "request.id",
    "request.host",
    "request.method",
    "request.path",
    "request.scheme",
    "request.protocol",
]
"""What a header may be set to, named as Envoy's attributes are."""


class Header(HTTPHeader):
    """A header with a value, or with what a variable holds."""

    value: HeaderValue | Literal[""] = Field("", description="The header's value, used literally.")
    variable: Variable | None = Field(
        None,
        description="In place of a value. source.address: the client's address, as a gateway knows it. "
        "source.principal: the caller's identity (spiffe://...), stated by the service's own sidecar. "
        "request.id, .host, .method, .path (with the query), .scheme, .protocol: those of the request.",
    )

    @model_validator(mode="after")
    def _one_value(self) -> Self:
        if bool(self.value) == bool(self.variable):
            raise ValueError(f"header {self.name!r}: set one of value and variable")
        return self


class HeaderChanges(HTTPHeaderFilter):
    """Changes to the headers of a message. A header may appear in one of the lists only."""

    set: tuple[Header, ...] = Field(
        (), max_length=16, description="Headers that replace existing ones of the same name."
    )
    add: tuple[Header, ...] = Field(
        (), max_length=16, description="Headers added to existing ones of the same name."
    )

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not (self.set or self.add or self.remove):
            raise ValueError("there is nothing to change: use set, add or remove")
        return self


class HeaderPolicySpec(TargetedSpec):
    """The changes. Set request, response or both."""

    target_kinds: ClassVar[frozenset[TargetKind]] = frozenset(
        {"Mesh", "Gateway", "Service", "ExternalService", "HTTPRoute", "GRPCRoute"}
    )

    request: HeaderChanges | None = Field(None, description="Changes to requests.")
    response: HeaderChanges | None = Field(None, description="Changes to responses.")

    @property
    def principal_headers(self) -> tuple[str, ...]:
        """Request headers with the caller's identity, in lower case."""
        changes = self.request.set if self.request else ()
        return tuple(header.name.lower() for header in changes if header.variable == "source.principal")

    def inapplicable_reason(self, target: TargetRef) -> str:
        """What is known at gateways only, or at a service's own sidecars only."""
        changes = [change for change in (self.request, self.response) if change]
        variables = {header.variable for change in changes for header in (*change.set, *change.add)}
        if "source.principal" in variables and target.kind not in ("Mesh", "Service"):
            return (
                "source.principal: the sidecars of a service know who calls: target the Service or the Mesh"
            )
        if "source.address" in variables and target.kind in ("Mesh", "Service", "ExternalService"):
            return "source.address: behind a sidecar it is loopback: target the Gateway or a route of it"
        return ""

    @model_validator(mode="after")
    def _principal_cannot_be_forged(self) -> Self:
        added = self.request.add if self.request else ()
        answers = (*self.response.set, *self.response.add) if self.response else ()
        if any(header.variable == "source.principal" for header in (*added, *answers)):
            raise ValueError("source.principal: use set of request, so that no caller can forge it")
        if self.principal_headers and self.from_:
            raise ValueError("source.principal says who calls: leave from out")
        for header in self.principal_headers:
            check_spelling(header)
        return self

    @model_validator(mode="after")
    def _has_changes(self) -> Self:
        if self.request is None and self.response is None:
            raise ValueError(
                "neither request nor response is set, so the policy has no effect: set one of them"
            )
        return self


class HeaderPolicy(TargetedPolicy):
    """Sets, adds and removes request and response headers.

    The caller's sidecar (or the gateway) changes requests before it forwards them and responses before it
    returns them; only headers with source.principal are set by the sidecars of the called service. The
    changes do not affect which route matches; a route's own RequestHeaderModifier is applied after them.
    Redirects, and responses for which there is no backend, are unchanged. The most specific policy applies:
    route, service, gateway, mesh.
    """

    combine: ClassVar[Combine] = "override"
    order: ClassVar[int] = 850

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["HeaderPolicy"] = Field(description="Always HeaderPolicy.")
    spec: HeaderPolicySpec = Field(description="Targets and header changes.")
