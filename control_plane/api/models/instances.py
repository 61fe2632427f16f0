"""Instances and their leases: what an agent registers, and what the admin API reports."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from meshwright.control_plane.api.models.base import ApiModel, IpAddress, LabelKey, LabelValue, Name, Protocol

ZONE_LABEL = "zone"
INTERCEPT_HEADER_LABEL = "intercept.meshwright.io/header"
INTERCEPT_VALUE_LABEL = "intercept.meshwright.io/value"
INTERCEPT_PERCENT_LABEL = "intercept.meshwright.io/percent"
"""Labels of an instance that intercepts requests of its service: those with a header, or a percentage."""

"""The instance label that names its locality."""

InstanceHealth = Literal["healthy", "unhealthy", "draining"]

REASON_LIMIT = 300
"""Characters of a reason."""

Reason = Annotated[str, StringConstraints(max_length=REASON_LIMIT)]


class Port(ApiModel):
    """A port of a service. `number` is the port callers may use (`orders:9090`), 0 if there is none."""

    name: Name = "http"
    protocol: Protocol = "http"
    number: int = Field(0, ge=0, le=65535)


class InstanceProcess(ApiModel):
    """The process of an instance, if its agent started it, and its host."""

    host: str = Field("", max_length=255, description="Name of its host.")
    pid: int = Field(0, ge=0, description="Process id there; 0: none, or something else started it.")
    started: float = Field(0.0, ge=0, description="When it started, seconds since the epoch; 0: unknown.")


class InstanceCondition(ApiModel):
    """How an instance is, as its agent sees it."""

    health: InstanceHealth = "healthy"
    reason: Reason = Field(
        "",
        description="Why it is unhealthy: what the health check saw, how the process ended, where it was "
        "expected to listen. Empty unless it is unhealthy.",
    )
    last_resort: bool = Field(
        False,
        description="Unhealthy by its health check alone: a process listens. Requests are sent to such "
        "instances if the service has no healthy one.",
    )
    restarts: int = Field(0, ge=0, le=1_000_000, description="How often its agent has restarted the process.")
    last_exit: Reason = Field("", description="How the process last ended by itself; empty: it never did.")
    process: InstanceProcess = InstanceProcess()


class Registration(InstanceCondition):
    """One instance, registered by its agent and renewed in full every third of the lease.

    `address` and `port` are the sidecar's inbound listener as other nodes reach it. `instance` is unique only
    within its service. `health_path` is the declared health path of its app, at the first http port; empty
    if there is none. With the role `gateway`, `service` is a gateway's name, and `port` where it accepts the
    calls of sidecars to hosts outside the mesh.
    """

    instance: Name
    service: Name
    role: Literal["service", "gateway"] = "service"
    address: IpAddress
    port: int = Field(ge=1, le=65535)
    ports: tuple[Port, ...] = Field((Port(),), max_length=16)
    labels: tuple[tuple[LabelKey, LabelValue], ...] = Field((), max_length=32)
    health_path: str = Field("", max_length=1024, pattern=r"^(/[!-~]*)?$")

    @property
    def owner(self) -> str:
        """Whose instance it is: `orders`, or `gateway/egress`."""
        return owner_name(self.service, self.role)


def owner_name(name: str, role: Literal["service", "gateway"]) -> str:
    """What owns instances: a service by its name alone, or a gateway. No name contains a slash."""
    return name if role == "service" else f"gateway/{name}"


class LeaseGrant(ApiModel):
    """The response to a registration: the lease lasts `ttl` seconds unless renewed."""

    ttl: float


class InstanceRef(ApiModel):
    """Names one instance of the calling agent's service."""

    instance: Name


class InstanceDeparture(InstanceRef):
    """An instance leaves. `failure` says why it did not end as planned, such as `exited with code 1`."""

    failure: str = Field("", max_length=300)


class DrainResult(ApiModel):
    """Whether every connected sidecar that knew the instance has removed it; `waiting` names the others."""

    drained: bool
    waiting: tuple[str, ...] = ()


class InstanceStatus(InstanceCondition):
    """An instance with a lease; `address` is `host:port`."""

    name: str
    service: str
    address: str
    labels: dict[str, str] = Field({})
    ports: tuple[Port, ...] = Field((), description="The ports of its service.")


class InstanceList(ApiModel):
    """Every instance with an unexpired lease."""

    instances: tuple[InstanceStatus, ...] = ()
