"""CircuitBreaker: failing instances are ejected for a while, and limits keep callers from piling up."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from meshwright.control_plane.policies.base import Combine, TargetedPolicy, TargetedSpec, TargetKind
from meshwright.control_plane.policies.duration import Duration

Limit = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]

MIN_OPEN_FOR, MAX_OPEN_FOR = timedelta(milliseconds=100), timedelta(hours=1)


class CircuitBreakerSpec(TargetedSpec):
    """When an instance is ejected, and limits. Each caller's sidecar counts separately."""

    target_kinds: ClassVar[frozenset[TargetKind]] = frozenset({"Mesh", "Service", "ExternalService"})

    consecutive_failures: int = Field(
        5,
        strict=True,
        ge=1,
        le=100_000,
        description="Consecutive failures after which this caller stops sending to the instance. When every "
        "instance is ejected, callers get 503 at once. Failures are 5xx responses, failed connections, "
        "resets, timeouts and the gRPC statuses UNAVAILABLE, INTERNAL, UNKNOWN, DEADLINE_EXCEEDED, "
        "DATA_LOSS and UNIMPLEMENTED. Each retry counts separately; what a limit refuses does not count.",
    )
    open_for: Duration = Field(
        timedelta(seconds=60),
        description="How long an instance stays ejected; `halfOpen` says what happens then. With a "
        "HealthCheck for the service both have no effect: its first passing probe brings the instance back.",
    )
    half_open: Literal["probe", "traffic"] = Field(
        "traffic",
        description="What happens after openFor. traffic: the instance gets its full share of requests, and "
        "is ejected again after as many failures. probe: one health check is made, a trial; if it passes, "
        "the instance gets its requests, otherwise it stays ejected for openFor again.",
    )
    max_connections: Limit | None = Field(
        None,
        description="Connections to all instances of the service together. Requests share connections, so "
        "this is for TCP; one connection per instance is always allowed.",
    )
    max_pending: Limit | None = Field(
        None,
        description="Requests that wait for a connection, including a first burst. Prefer maxRequests.",
    )
    max_requests: Limit | None = Field(
        None,
        description="Requests in flight to all instances together; more get 503 with x-envoy-overloaded.",
    )

    @field_validator("open_for")
    @classmethod
    def _within_bounds(cls, value: timedelta) -> timedelta:
        if not MIN_OPEN_FOR <= value <= MAX_OPEN_FOR:
            raise ValueError("openFor is out of range: use a duration from 100ms to 1h")
        return value


class CircuitBreaker(TargetedPolicy):
    """Ejects failing instances for a while, and limits requests and connections to a service.

    Each caller's sidecar counts separately. After `openFor` an instance gets all its requests back at once,
    or with `halfOpen: probe` one health check decides: the health path that its application declares, the
    standard health service of gRPC, a connection to the sidecar for tcp. Changing a CircuitBreaker resets
    ejections and counters in every sidecar; changes to instances, their health or weights do not. The most
    specific policy applies: service, then mesh.
    """

    combine: ClassVar[Combine] = "override"
    order: ClassVar[int] = 400

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["CircuitBreaker"] = Field(description="Always CircuitBreaker.")
    spec: CircuitBreakerSpec = Field(description="Targets, ejection and limits.")
