"""CircuitBreaker: instances that fail are left alone for a while, and limits keep callers from piling up."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from meshwright.control_plane.policies.base import Combine, TargetedPolicy, TargetedSpec, TargetKind
from meshwright.control_plane.policies.duration import Duration

if TYPE_CHECKING:
    from meshwright.control_plane.envoy import v3

Limit = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]

MIN_OPEN_FOR, MAX_OPEN_FOR = timedelta(milliseconds=100), timedelta(hours=1)
"""Bounds of openFor."""

_SLOWEST_CHECK, _FASTEST_CHECK = timedelta(seconds=1), timedelta(milliseconds=50)
_CHECKS_WHILE_OPEN = 10


class CircuitBreakerSpec(TargetedSpec):
    """When an instance is left alone, and limits. Each caller's sidecar counts for itself."""

    target_kinds: ClassVar[frozenset[TargetKind]] = frozenset({"Mesh", "Service"})

    consecutive_failures: int = Field(
        5,
        strict=True,
        ge=1,
        le=100_000,
        description="So many failures in a row, and the instance gets no more requests of this caller. When "
        "all are out, callers get 503 at once. Failures are 5xx answers, failed connections, resets, "
        "timeouts and the gRPC statuses UNAVAILABLE, INTERNAL, UNKNOWN, DEADLINE_EXCEEDED, DATA_LOSS and "
        "UNIMPLEMENTED; each retry counts by itself, what a limit refused does not.",
    )
    open_for: Duration = Field(
        timedelta(seconds=60),
        description="After so long all requests go to the instance again, and as many failures leave it out "
        "again. With a HealthCheck for the service this has no effect: only a passing probe brings it back.",
    )
    max_connections: Limit | None = Field(
        None,
        description="Connections to all instances of the service together. Requests share connections, so "
        "this is for TCP; one connection an instance is always made.",
    )
    max_pending: Limit | None = Field(
        None,
        description="Requests that wait for a connection, a first burst among them. Prefer maxRequests.",
    )
    max_requests: Limit | None = Field(
        None,
        description="Requests under way to all instances together; more get 503 with x-envoy-overloaded.",
    )

    @field_validator("open_for")
    @classmethod
    def _bounded(cls, value: timedelta) -> timedelta:
        if not MIN_OPEN_FOR <= value <= MAX_OPEN_FOR:
            raise ValueError("openFor is outside what makes sense: give from 100ms to 1h")
        return value

    def patch_cluster(self, cluster: v3.Cluster) -> None:
        """Outlier detection that ejects every instance if need be, and the default priority's limits.

        Envoy looks for what it may let back once an `interval`, so that is a tenth of openFor, 1 s at most.
        """
        outlier = cluster.outlier_detection
        outlier.consecutive_5xx.value = self.consecutive_failures
        outlier.enforcing_consecutive_5xx.value = 100
        outlier.enforcing_success_rate.value = 0
        outlier.max_ejection_percent.value = 100
        outlier.interval.FromTimedelta(
            max(_FASTEST_CHECK, min(_SLOWEST_CHECK, self.open_for / _CHECKS_WHILE_OPEN))
        )
        outlier.base_ejection_time.FromTimedelta(self.open_for)
        outlier.max_ejection_time.FromTimedelta(self.open_for)
        self._limit(cluster)

    def _limit(self, cluster: v3.Cluster) -> None:
        thresholds = cluster.circuit_breakers.thresholds
        found = next((one for one in thresholds if one.priority == 0), None) or thresholds.add()
        for field, limit in (
            (found.max_connections, self.max_connections),
            (found.max_pending_requests, self.max_pending),
            (found.max_requests, self.max_requests),
        ):
            if limit is not None:
                field.value = limit


class CircuitBreaker(TargetedPolicy):
    """Leaves failing instances alone for a while, and limits what is under way to a service.

    Every caller's sidecar counts by itself and knows nothing of the others. After `openFor` an instance gets
    all its requests at once; for a half-open state, where a probe decides, add a HealthCheck for the service.
    Changing a CircuitBreaker makes sidecars forget who was out and what was counted; changes of instances,
    their health and weights do not. The most specific one wins whole: for the service, then for the mesh.
    """

    combine: ClassVar[Combine] = "override"
    order: ClassVar[int] = 400

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["CircuitBreaker"] = Field(description="Always CircuitBreaker.")
    spec: CircuitBreakerSpec = Field(description="Where it applies, when it opens, and the limits.")
