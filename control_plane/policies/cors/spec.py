"""CORS: which pages of other origins may call, for services and gateways without a filter in each rule."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from meshwright.control_plane.policies.base import Combine, TargetedPolicy, TargetedSpec, TargetKind
from meshwright.control_plane.policies.httproute.cors import HTTPCORSFilter


class CORSSpec(HTTPCORSFilter, TargetedSpec):
    """Targets, and the fields of an HTTPRoute's CORS filter."""

    target_kinds: ClassVar[frozenset[TargetKind]] = frozenset(
        {"Mesh", "Gateway", "Service", "HTTPRoute", "GRPCRoute"}
    )

    @model_validator(mode="after")
    def _has_origins(self) -> Self:
        if not self.allow_origins:
            raise ValueError("allowOrigins is empty, so no page may call: name one, or * for all")
        return self


class CORS(TargetedPolicy):
    """Lets pages of other origins call, as browsers ask for (CORS).

    Preflight requests are answered by the gateway (or the caller's sidecar), responses get the headers that
    let a page read them. Requests of other origins pass unchanged: the browser refuses the response. The
    most specific policy applies: a rule's own CORS filter, route, service, gateway, mesh.
    """

    combine: ClassVar[Combine] = "override"
    order: ClassVar[int] = 860

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["CORS"] = Field(description="Always CORS.")
    spec: CORSSpec = Field(description="Targets, origins, and what their pages may do.")
