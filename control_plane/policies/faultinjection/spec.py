"""FaultInjection: deliberate delays and failures in the caller's sidecar, to test how callers cope."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from meshwright.control_plane.policies.base import Combine, Spec, TargetedPolicy, TargetedSpec
from meshwright.control_plane.policies.duration import Duration
from meshwright.control_plane.policies.httproute.matches import HTTPHeaderMatch

GrpcStatus = Literal["CANCELLED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "INTERNAL", "UNAVAILABLE"]

Percent = Annotated[float, Field(strict=True, ge=0, le=100)]


class Delay(Spec):
    """Delays requests before they are sent."""

    fixed: Duration = Field(description="The delay, above 0s.")
    percent: Percent = Field(100.0, description="Percentage of requests to delay.")

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if not self.fixed:
            raise ValueError("fixed is 0s, which is no delay: use at least 1ms, or leave delay out")
        return self


class Abort(Spec):
    """Responds with a failure instead of sending the request."""

    status: int | None = Field(None, strict=True, ge=200, le=599, description="HTTP status of the response.")
    grpc_status: GrpcStatus | None = Field(None, description="gRPC status of the response.")
    percent: Percent = Field(100.0, description="Percentage of requests to abort.")

    @model_validator(mode="after")
    def _exactly_one_status(self) -> Self:
        if (self.status is None) == (self.grpc_status is None):
            raise ValueError("abort has either status or grpcStatus: set exactly one")
        return self


class FaultInjectionSpec(TargetedSpec):
    """The faults, the percentage of requests, and which requests."""

    delay: Delay | None = Field(None, description="Requests to delay.")
    abort: Abort | None = Field(None, description="Requests to fail.")
    headers: tuple[HTTPHeaderMatch, ...] = Field(
        (),
        max_length=16,
        description="Only requests with all of these headers. Omitted: all requests.",
    )

    @model_validator(mode="after")
    def _has_fault(self) -> Self:
        if self.delay is None and self.abort is None:
            raise ValueError("neither delay nor abort is set, so the policy has no effect: set one of them")
        return self


class FaultInjection(TargetedPolicy):
    """Delays requests or fails them, deliberately.

    The caller's sidecar (or the gateway) injects the fault before it sends anything: the service itself sees
    less traffic, retries in the same sidecar do not see the failure, and circuit breakers do not count it.
    The most specific policy applies. Remove it with `mesh delete faultinjection NAME`.
    """

    combine: ClassVar[Combine] = "override"
    order: ClassVar[int] = 800

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["FaultInjection"] = Field(description="Always FaultInjection.")
    spec: FaultInjectionSpec = Field(description="Targets and faults.")
