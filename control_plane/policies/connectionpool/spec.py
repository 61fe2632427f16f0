"""ConnectionPool: how callers' sidecars connect to a service and how long they keep connections."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from meshwright.control_plane.policies.base import Combine, Spec, TargetedPolicy, TargetedSpec, TargetKind
from meshwright.control_plane.policies.duration import Duration

if TYPE_CHECKING:
    from meshwright.control_plane.envoy import v3

Count = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]

SECOND = timedelta(seconds=1)


class TcpKeepalive(Spec):
    """The kernel's probes on a silent connection, which find a peer that is gone without a word."""

    time: Duration = Field(
        timedelta(seconds=60), description="Silence before the first probe, in whole seconds."
    )
    interval: Duration = Field(timedelta(seconds=10), description="Between probes, in whole seconds.")
    probes: int = Field(3, strict=True, ge=1, le=127, description="Unanswered probes that end a connection.")

    @field_validator("time", "interval")
    @classmethod
    def _whole_seconds(cls, value: timedelta) -> timedelta:
        if value < SECOND or value % SECOND:
            raise ValueError("the kernel counts whole seconds: give 1s or more of them")
        return value


class ConnectionPoolSpec(TargetedSpec):
    """What is left out stays as it is without the policy."""

    target_kinds: ClassVar[frozenset[TargetKind]] = frozenset({"Mesh", "Service"})

    connect_timeout: Duration | None = Field(
        None, description="How long a new connection with its TLS handshake may take; 1s without a policy."
    )
    idle_timeout: Duration | None = Field(
        None, description="A connection without requests is closed after this; 1h without a policy."
    )
    max_requests_per_connection: Count | None = Field(
        None, description="After so many requests a connection is replaced, which spreads them anew."
    )
    max_concurrent_streams: Count | None = Field(
        None, description="Requests at once on one connection; more open another one."
    )
    tcp_keepalive: TcpKeepalive | None = Field(None, description="Probes on silent connections.")

    @field_validator("connect_timeout", "idle_timeout")
    @classmethod
    def _some_time(cls, value: timedelta | None) -> timedelta | None:
        if value is not None and not value:
            raise ValueError("0s would leave no time at all: give at least 1ms, or leave it out")
        return value

    def patch_cluster(self, cluster: v3.Cluster) -> None:
        """Set connection options; those of HTTP only where the port speaks it."""
        from meshwright.control_plane.policies.connectionpool import envoy  # noqa: PLC0415  validating needs no Envoy

        if self.connect_timeout is not None:
            cluster.connect_timeout.FromTimedelta(self.connect_timeout)
        if self.tcp_keepalive is not None:
            keepalive = cluster.upstream_connection_options.tcp_keepalive
            keepalive.keepalive_time.value = self.tcp_keepalive.time // SECOND
            keepalive.keepalive_interval.value = self.tcp_keepalive.interval // SECOND
            keepalive.keepalive_probes.value = self.tcp_keepalive.probes
        envoy.configure(self, cluster)


class ConnectionPool(TargetedPolicy):
    """Shapes the connections from callers' sidecars to a service's sidecars.

    Changing it makes sidecars connect anew. The most specific one wins whole: for the service, then for the
    mesh.
    """

    combine: ClassVar[Combine] = "override"
    order: ClassVar[int] = 700

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["ConnectionPool"] = Field(description="Always ConnectionPool.")
    spec: ConnectionPoolSpec = Field(description="Where it applies and how connections are kept.")
