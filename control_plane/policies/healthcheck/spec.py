"""HealthCheck: each caller's sidecar probes the instances it calls."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from meshwright.control_plane.api.models.base import Name
from meshwright.control_plane.policies.base import Combine, Spec, TargetedPolicy, TargetedSpec, TargetKind
from meshwright.control_plane.policies.duration import Duration

Path = Annotated[str, StringConstraints(max_length=1024, pattern=r"^/[!-~]*$")]
GrpcService = Annotated[str, StringConstraints(max_length=255, pattern=r"^[A-Za-z0-9_.]*$")]
Status = Annotated[int, Field(strict=True, ge=100, le=599)]

MIN_PROBE_INTERVAL = timedelta(milliseconds=100)


class HttpProbe(Spec):
    """A GET request to the application."""

    path: Path = Field(description="The path to request, with its query if any.")
    expected_statuses: tuple[Status, ...] = Field(
        (200,), min_length=1, max_length=32, description="Statuses that mean healthy."
    )


class GrpcProbe(Spec):
    """A call of grpc.health.v1.Health/Check."""

    service: GrpcService = Field("", description="The service name to check. Empty: the whole server.")


class TcpProbe(Spec):
    """A connection. It ends at the instance's sidecar, so it says nothing about the application."""


class HealthCheckSpec(TargetedSpec):
    """The probe and its timing. Set exactly one of http, grpc and tcp."""

    target_kinds: ClassVar[frozenset[TargetKind]] = frozenset({"Mesh", "Service", "ExternalService"})

    http: HttpProbe | None = Field(None, description="Probe with an HTTP request.")
    grpc: GrpcProbe | None = Field(None, description="Probe with gRPC's health protocol.")
    tcp: TcpProbe | None = Field(None, description="Only connect to the instance's sidecar.")
    port: Name | None = Field(
        None,
        description="The name of the port to probe, if it is not the default port. Omitted: the default "
        "port, or every port with tcp.",
    )
    interval: Duration = Field(
        timedelta(seconds=5), description="Time between probes from one caller; at least 100ms."
    )
    timeout: Duration = Field(timedelta(seconds=1), description="A probe that takes longer has failed.")
    unhealthy_threshold: int = Field(
        2,
        strict=True,
        ge=1,
        le=100,
        description="Consecutive failed probes after which the instance gets no requests.",
    )
    healthy_threshold: int = Field(
        1,
        strict=True,
        ge=1,
        le=100,
        description="Consecutive successful probes after which the instance gets requests again.",
    )

    def port_names(self) -> Iterator[tuple[str, str]]:
        """The port to probe."""
        if self.port is not None:
            yield "port", self.port

    @model_validator(mode="after")
    def _exactly_one_probe(self) -> Self:
        if sum(probe is not None for probe in (self.http, self.grpc, self.tcp)) != 1:
            raise ValueError("a probe is one of http, grpc and tcp: set exactly one")
        return self

    @field_validator("interval", "timeout")
    @classmethod
    def _not_too_short(cls, value: timedelta) -> timedelta:
        if value < MIN_PROBE_INTERVAL:
            raise ValueError("probes would flood the instances: use at least 100ms")
        return value


class HealthCheck(TargetedPolicy):
    """Probes the instances of a service from callers' sidecars and stops sending to those that fail.

    Probes take the path of requests: mutual TLS to the instance's sidecar, then to the application. Each
    caller that uses the service probes separately, so keep the interval long when there are many callers. A
    new instance gets its first request after its first successful probe. Together with a CircuitBreaker this
    is the half-open state: an ejected instance gets no request until a probe succeeds, however long that
    takes. The most specific policy applies: service, then mesh.
    """

    combine: ClassVar[Combine] = "override"
    order: ClassVar[int] = 500

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["HealthCheck"] = Field(description="Always HealthCheck.")
    spec: HealthCheckSpec = Field(description="Targets, the probe and its timing.")
