"""RateLimit: how many requests of a kind are let through in a time."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from meshwright.control_plane.policies.base import (
    Combine,
    Spec,
    TargetedPolicy,
    TargetedSpec,
    TargetKind,
    TargetRef,
)
from meshwright.control_plane.policies.duration import Duration
from meshwright.control_plane.policies.field_types import HOP_BY_HOP, check_distinct

KeyType = Literal["ClientAddress", "Header", "Claim", "Caller", "Path"]

MAX_REQUESTS = 1_000_000_000

LEAST_PERIOD = timedelta(milliseconds=50)
"""Envoy refills a bucket at most this often (LocalRateLimit.token_bucket)."""

_KeyName = Annotated[str, StringConstraints(max_length=128, pattern=r"^[A-Za-z0-9!#$&'*+\-.^_`|~]*$")]
_NAMED: tuple[KeyType, ...] = ("Header", "Claim")


class LimitKey(Spec):
    """A property of a request. Requests in which it differs are counted apart."""

    type: KeyType = Field(
        description="ClientAddress: the address of the client, as far as trusted proxies say it; IPv6 by its "
        "/64 network. Header, Claim: a value of the request or of its verified token. Caller: the calling "
        "service. Path: the path without the query."
    )
    name: _KeyName = Field(
        "", description="The header, or the claim of a JWTAuthentication's token (`a.b` is b in a)."
    )

    @model_validator(mode="after")
    def _named(self) -> Self:
        if bool(self.name) != (self.type in _NAMED):
            needed = "needs the name of the" if self.type in _NAMED else "has no name: leave it out of the"
            raise ValueError(f"{self.type} {needed} {self.type.lower() if self.type in _NAMED else 'key'}")
        if self.type == "Header" and self.name.lower() in HOP_BY_HOP:
            raise ValueError(f"header {self.name!r} is hop-by-hop, so it says nothing about the client")
        return self


class Limit(Spec):
    """So many requests in so much time, for all requests or for each value of some keys."""

    requests: int = Field(
        strict=True, ge=1, le=MAX_REQUESTS, description="How many requests, in the long run."
    )
    per: Duration = Field(
        ge=LEAST_PERIOD, le=timedelta(days=1), description="In which time, such as 1s or 1h."
    )
    burst: int | None = Field(
        None,
        strict=True,
        ge=1,
        le=MAX_REQUESTS,
        description="How many at once after a pause. Default: `requests`.",
    )
    by: tuple[LimitKey, ...] = Field(
        (),
        max_length=4,
        description="Each combination of these has a limit of its own. Empty: one limit for all requests.",
    )

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        check_distinct((f"{key.type} {key.name.lower()}".strip() for key in self.by), "key")
        return self

    @property
    def most_at_once(self) -> int:
        """The size of the bucket."""
        return self.burst or self.requests


class RateLimitSpec(TargetedSpec):
    """Targets and limits."""

    target_kinds: ClassVar[frozenset[TargetKind]] = frozenset(
        {"Mesh", "Gateway", "Service", "ExternalService", "HTTPRoute", "GRPCRoute"}
    )
    gateway_sections: ClassVar[bool] = True
    gateway_routes_only: ClassVar[bool] = True
    mesh_has_gateways: ClassVar[bool] = False

    scope: Literal["local", "global"] = Field(
        "local",
        description="local: each proxy counts the requests it gets. global: the control plane counts for all "
        "proxies together.",
    )
    on_failure: Literal["allow", "deny"] = Field(
        "allow",
        description="For scope global: whether requests pass (allow) or get 503 (deny) while they cannot be "
        "counted.",
    )
    enforcement: Literal["enforce", "audit"] = Field(
        "enforce", description="audit: nothing is refused; what would be is counted."
    )
    limits: tuple[Limit, ...] = Field(
        min_length=1, max_length=8, description="The limits. A request passes only if all of them let it."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.from_:
            raise ValueError("from: use by: [{type: Caller}], which counts each calling service apart")
        if self.scope == "local" and self.on_failure == "deny":
            raise ValueError(
                "onFailure: a proxy can always count by itself: leave it out, or use scope: global"
            )
        return self

    def inapplicable_reason(self, target: TargetRef) -> str:
        """Keys that are the same for all requests there."""
        keys = {key.type for limit in self.limits for key in limit.by}
        if target.kind == "ExternalService" and "Caller" in keys:
            return "each sidecar limits what its own service sends, so there is one Caller"
        if target.kind not in ("Mesh", "Service") and "Caller" in keys:
            return "clients of a gateway have no identity in the mesh, so all of them are one Caller"
        return ""


class RateLimit(TargetedPolicy):
    """Refuses requests beyond a limit with 429.

    A policy for a Gateway, one of its listeners (`sectionName`) or a route limits requests at the gateway;
    one for a Service at the sidecars of that service, whoever calls; one for the Mesh at those of every
    service; one for an ExternalService what each sidecar (or gateway) sends there. Each proxy counts by
    itself (`scope: local`), or the control plane for all of them together (`scope: global`). All policies
    apply that target a request, and the strictest refuses. The response says when to try again
    (`retry-after`) and how much is left (`x-ratelimit-*`).
    """

    combine: ClassVar[Combine] = "all"
    order: ClassVar[int] = 160

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["RateLimit"] = Field(description="Always RateLimit.")
    spec: RateLimitSpec = Field(description="What is limited, and to how much.")
