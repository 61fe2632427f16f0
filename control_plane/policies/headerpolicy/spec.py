"""HeaderPolicy: request and response headers are set, added and removed on the caller's side."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from meshwright.control_plane.policies.base import Combine, TargetedPolicy, TargetedSpec, TargetKind
from meshwright.control_plane.policies.httproute.filters import HTTPHeaderFilter


class HeaderChanges(HTTPHeaderFilter):
    """Changes to the headers of a message. A header may appear in one of the lists only."""

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
    returns them. The changes do not affect which route matches; a route's own RequestHeaderModifier is
    applied after them. Redirects, and responses for which there is no backend, are unchanged. The most
    specific policy applies: route, service, gateway, mesh.
    """

    combine: ClassVar[Combine] = "override"
    order: ClassVar[int] = 850

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["HeaderPolicy"] = Field(description="Always HeaderPolicy.")
    spec: HeaderPolicySpec = Field(description="Targets and header changes.")
