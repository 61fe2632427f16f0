"""FaultInjection: delays and failures on purpose, in the caller's sidecar, to see how callers bear them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from meshwright.control_plane.policies.base import Combine, Spec, TargetedPolicy, TargetedSpec
from meshwright.control_plane.policies.duration import Duration
from meshwright.control_plane.policies.httproute.matches import HTTPHeaderMatch

if TYPE_CHECKING:
    from meshwright.control_plane.envoy import v3

GrpcStatus = Literal["CANCELLED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "INTERNAL", "UNAVAILABLE"]

Percent = Annotated[float, Field(strict=True, ge=0, le=100)]


class Delay(Spec):
    """Holds requests back before they are sent."""

    fixed: Duration = Field(description="How long, above 0s.")
    percent: Percent = Field(100.0, description="The share of requests, in percent.")

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.fixed:
            raise ValueError("fixed is 0s, which is no delay: give at least 1ms, or leave delay out")
        return self


class Abort(Spec):
    """Answers requests itself, with a failure."""

    status: int | None = Field(
        None, strict=True, ge=200, le=599, description="The HTTP status of the answer."
    )
    grpc_status: GrpcStatus | None = Field(None, description="The gRPC status of the answer.")
    percent: Percent = Field(100.0, description="The share of requests, in percent.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.status is None) == (self.grpc_status is None):
            raise ValueError("abort has either status or grpcStatus: give exactly one")
        return self


class FaultInjectionSpec(TargetedSpec):
    """What goes wrong, for which share of requests, and which requests."""

    delay: Delay | None = Field(None, description="Requests that are held back.")
    abort: Abort | None = Field(None, description="Requests that are answered with a failure.")
    headers: tuple[HTTPHeaderMatch, ...] = Field(
        (),
        max_length=16,
        description="Only requests that carry all of these headers; left out: all requests.",
    )

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.delay is None and self.abort is None:
            raise ValueError("neither delay nor abort is given, so nothing goes wrong: give one of them")
        return self

    def patch_route(self, route: v3.Route) -> list[v3.Route]:
        """Configure the fault filter for this route alone."""
        from meshwright.control_plane.policies.faultinjection import envoy as fault  # noqa: PLC0415  validating needs none

        fault.configure(self, route)
        return [route]


class FaultInjection(TargetedPolicy):
    """Delays requests or answers them with failures, on purpose.

    It happens in the caller's sidecar (or the gateway) before anything is sent: the service itself sees less
    traffic, retries of the same sidecar do not see the failure, and breakers do not count it. The most
    specific one wins whole. Take it away with `mesh delete faultinjection NAME`.
    """

    combine: ClassVar[Combine] = "override"
    order: ClassVar[int] = 800

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["FaultInjection"] = Field(description="Always FaultInjection.")
    spec: FaultInjectionSpec = Field(description="Where it applies and what goes wrong.")
