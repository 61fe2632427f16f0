"""RequestLimits: how large the body of a request may be."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from meshwright.control_plane.policies.base import Combine, TargetedPolicy, TargetedSpec, TargetKind
from meshwright.control_plane.policies.byte_size import KIB, MIB, ByteSize

MAX_BODY = 1024 * 1024 * MIB

DEFAULT_BUFFERED, MAX_BUFFERED = MIB, 64 * MIB


class RequestLimitsSpec(TargetedSpec):
    """Targets and limits."""

    target_kinds: ClassVar[frozenset[TargetKind]] = frozenset({"Gateway", "Service", "HTTPRoute"})
    gateway_sections: ClassVar[bool] = True
    gateway_routes_only: ClassVar[bool] = True

    max_body: ByteSize = Field(
        le=MAX_BODY,
        description="How large a body may be, such as 512Ki or 10Mi. A request that declares more "
        "(content-length) is refused at once, and one that declares less streams through.",
    )
    max_body_without_length: ByteSize | None = Field(
        None,
        ge=1 * KIB,
        le=MAX_BUFFERED,
        description="How large a body may be whose length is not declared (chunked). The proxy holds it in "
        "memory until it is complete. Default: maxBody, at most 1Mi.",
    )

    @property
    def buffered(self) -> int:
        """Bytes that the proxy holds in memory for one request at most."""
        return min(self.max_body, self.max_body_without_length or DEFAULT_BUFFERED)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.from_:
            raise ValueError("from: the limit is that of the target, whoever calls: leave it out")
        if self.max_body_without_length and self.max_body_without_length > self.max_body:
            raise ValueError("maxBodyWithoutLength is larger than maxBody: lower it, or leave it out")
        return self


class RequestLimits(TargetedPolicy):
    """Refuses requests with 413 whose body is too large.

    A policy for a Gateway, one of its listeners (`sectionName`) or a route is enforced at the gateway, where
    the most specific one applies; one for a Service by the sidecars of that service, for every caller.
    gRPC calls and upgrades (WebSocket) without a declared length are streams and pass.
    """

    combine: ClassVar[Combine] = "override"
    order: ClassVar[int] = 195

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["RequestLimits"] = Field(description="Always RequestLimits.")
    spec: RequestLimitsSpec = Field(description="What is limited, and to how much.")
