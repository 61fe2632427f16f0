"""ConnectionPool: how callers' sidecars connect to a service and how long they keep connections."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from meshwright.control_plane.policies.base import Combine, Spec, TargetedPolicy, TargetedSpec, TargetKind
from meshwright.control_plane.policies.duration import Duration

Count = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]

SECOND = timedelta(seconds=1)


class TcpKeepalive(Spec):
    """The kernel's probes on an idle connection, which detect a peer that vanished."""

    time: Duration = Field(
        timedelta(seconds=60), description="Idle time before the first probe, in whole seconds."
    )
    interval: Duration = Field(timedelta(seconds=10), description="Time between probes, in whole seconds.")
    probes: int = Field(
        3, strict=True, ge=1, le=127, description="Unanswered probes after which the connection is closed."
    )

    @field_validator("time", "interval")
    @classmethod
    def _whole_seconds(cls, value: timedelta) -> timedelta:
        if value < SECOND or value % SECOND:
            raise ValueError("the kernel counts whole seconds: use 1s or more")
        return value


class ConnectionPoolSpec(TargetedSpec):
    """Fields that are left out keep their defaults."""

    target_kinds: ClassVar[frozenset[TargetKind]] = frozenset({"Mesh", "Service", "ExternalService"})

    connect_timeout: Duration | None = Field(
        None, description="Time for a new connection including its TLS handshake; 1s by default."
    )
    idle_timeout: Duration | None = Field(
        None, description="A connection without requests is closed after this time; 1h by default."
    )
    max_requests_per_connection: Count | None = Field(
        None, description="A connection is replaced after this many requests, which rebalances load."
    )
    max_concurrent_streams: Count | None = Field(
        None, description="Concurrent requests per connection; further requests open another connection."
    )
    tcp_keepalive: TcpKeepalive | None = Field(None, description="Probes on idle connections.")

    @field_validator("connect_timeout", "idle_timeout")
    @classmethod
    def _positive(cls, value: timedelta | None) -> timedelta | None:
        if value is not None and not value:
            raise ValueError("0s leaves no time at all: use at least 1ms, or leave it out")
        return value


class ConnectionPool(TargetedPolicy):
    """Configures the connections from callers' sidecars to a service's sidecars.

    Changing it makes sidecars reconnect. The most specific policy applies: service, then mesh.
    """

    combine: ClassVar[Combine] = "override"
    order: ClassVar[int] = 700

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["ConnectionPool"] = Field(description="Always ConnectionPool.")
    spec: ConnectionPoolSpec = Field(description="Targets and connection settings.")
