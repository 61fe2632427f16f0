"""HealthCheck: each caller's sidecar asks the instances it calls how they are."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from meshwright.control_plane.api.models.base import Name
from meshwright.control_plane.policies.base import Combine, Spec, TargetedPolicy, TargetedSpec, TargetKind
from meshwright.control_plane.policies.duration import Duration

if TYPE_CHECKING:
    from meshwright.control_plane.envoy import v3

Path = Annotated[str, StringConstraints(max_length=1024, pattern=r"^/[!-~]*$")]
GrpcService = Annotated[str, StringConstraints(max_length=255, pattern=r"^[A-Za-z0-9_.]*$")]
Status = Annotated[int, Field(strict=True, ge=100, le=599)]

HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
"""Clusters of ports that speak HTTP or gRPC have these options, those of TCP ports do not."""

EJECTED_UNTIL_PROBE_PASSES = timedelta(hours=1)
"""How long the outlier detection would keep an instance out if no probe ever passed."""

MIN_PROBE_INTERVAL = timedelta(milliseconds=100)


class HttpProbe(Spec):
    """A GET request that the app answers."""

    path: Path = Field(description="The path that is asked for, with its query if any.")
    expected_statuses: tuple[Status, ...] = Field(
        (200,), min_length=1, max_length=32, description="Statuses that mean healthy."
    )


class GrpcProbe(Spec):
    """A call of grpc.health.v1.Health/Check."""

    service: GrpcService = Field("", description="The name that is asked for; empty: the server as a whole.")


class TcpProbe(Spec):
    """A connection. It ends at the instance's sidecar, so it tells nothing of the app behind it."""


class HealthCheckSpec(TargetedSpec):
    """What is asked and how often. Exactly one of http, grpc and tcp."""

    target_kinds: ClassVar[frozenset[TargetKind]] = frozenset({"Mesh", "Service"})

    http: HttpProbe | None = Field(None, description="Ask by an HTTP request.")
    grpc: GrpcProbe | None = Field(None, description="Ask by gRPC's health protocol.")
    tcp: TcpProbe | None = Field(None, description="Only connect to the instance's sidecar.")
    port: Name | None = Field(
        None,
        description="The name of the one port that is probed, for one that a bare host does not mean. Left "
        "out: the port that a bare host means, or with tcp every port.",
    )
    interval: Duration = Field(
        timedelta(seconds=5), description="The time between probes of one caller; at least 100ms."
    )
    timeout: Duration = Field(timedelta(seconds=1), description="A probe that takes longer has failed.")
    unhealthy_threshold: int = Field(
        2, strict=True, ge=1, le=100, description="So many failed probes in a row, and no request goes there."
    )
    healthy_threshold: int = Field(
        1,
        strict=True,
        ge=1,
        le=100,
        description="So many passed probes in a row, and requests go there again.",
    )

    @model_validator(mode="after")
    def _one_probe(self) -> Self:
        if sum(one is not None for one in (self.http, self.grpc, self.tcp)) != 1:
            raise ValueError("a probe is one of http, grpc and tcp: give exactly one")
        return self

    @field_validator("interval", "timeout")
    @classmethod
    def _some_time(cls, value: timedelta) -> timedelta:
        if value < MIN_PROBE_INTERVAL:
            raise ValueError("this would be a flood of probes: give at least 100ms")
        return value

    def patch_cluster(self, cluster: v3.Cluster) -> None:
        """Add the probe, and where a CircuitBreaker ejects make a passing probe the only way back.

        Envoy lets an ejected host back when any probe of it passes. The ejection itself is made long enough
        that its end by time does not come first.
        """
        if not self._probes(cluster):
            return
        check = cluster.health_checks.add()
        check.interval.FromTimedelta(self.interval)
        check.no_traffic_interval.FromTimedelta(self.interval)
        check.timeout.FromTimedelta(self.timeout)
        check.unhealthy_threshold.value = self.unhealthy_threshold
        check.healthy_threshold.value = self.healthy_threshold
        self._ask(check, authority=cluster.name.partition("/")[0])
        if cluster.HasField("outlier_detection"):
            outlier = cluster.outlier_detection
            outlier.base_ejection_time.FromTimedelta(EJECTED_UNTIL_PROBE_PASSES)
            outlier.max_ejection_time.FromTimedelta(EJECTED_UNTIL_PROBE_PASSES)
            outlier.successful_active_health_check_uneject_host.value = True

    def _probes(self, cluster: v3.Cluster) -> bool:
        """Whether this probe suits the cluster's port. Names: `orders`, `orders:grpc`, `orders/v2`."""
        if self.tcp is None and HTTP_OPTIONS not in cluster.typed_extension_protocol_options:
            return False
        port = cluster.name.partition(":")[2]
        if self.port is not None:
            return port == self.port
        return not port or self.tcp is not None

    def _ask(self, check: v3.HealthCheck, authority: str) -> None:
        if self.http is not None:
            probe = check.http_health_check
            probe.host, probe.path = authority, self.http.path
            # The number 1 is HTTP2 of envoy.type.v3.CodecClientType, the only one that sidecars speak.
            probe.codec_client_type = 1
            for status in sorted(set(self.http.expected_statuses)):
                probe.expected_statuses.add(start=status, end=status + 1)
        elif self.grpc is not None:
            check.grpc_health_check.service_name = self.grpc.service
            check.grpc_health_check.authority = authority
        else:
            check.tcp_health_check.SetInParent()


class HealthCheck(TargetedPolicy):
    """Has callers' sidecars probe the instances of a service and leave out those that fail.

    Probes go the way of requests: by mutual TLS to the instance's sidecar and from there to the app. Each
    caller that uses the service probes by itself, so with many callers keep the interval long. A new instance
    gets its first request when its first probe has passed. Together with a CircuitBreaker it is the half-open
    state: an instance that was left out gets no request until a probe passes, however long that takes.
    The most specific one wins whole: for the service, then for the mesh.
    """

    combine: ClassVar[Combine] = "override"
    order: ClassVar[int] = 500

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["HealthCheck"] = Field(description="Always HealthCheck.")
    spec: HealthCheckSpec = Field(description="Where it applies, what is asked and how often.")
