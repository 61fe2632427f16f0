"""Instances and their leases: what an agent registers, and what the admin API reports."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from meshwright.control_plane.api.models.base import ApiModel, IpAddress, LabelKey, LabelValue, Name, Protocol

ZONE_LABEL = "zone"
"""The instance label that names its locality."""

InstanceHealth = Literal["healthy", "unhealthy", "draining"]


class Port(ApiModel):
    """A port of a service. `number` is the port callers may use (`orders:9090`), 0 if there is none."""

    name: Name = "http"
    protocol: Protocol = "http"
    number: int = Field(0, ge=0, le=65535)


class Registration(ApiModel):
    """One instance, registered by its agent and renewed in full every third of the lease.

    `address` and `port` are the sidecar's inbound listener as other nodes reach it. `instance` is unique only
    within its service.
    """

    instance: Name
    service: Name
    address: IpAddress
    port: int = Field(ge=1, le=65535)
    ports: tuple[Port, ...] = Field((Port(),), max_length=16)
    labels: tuple[tuple[LabelKey, LabelValue], ...] = Field((), max_length=32)
    health: InstanceHealth = "healthy"


class LeaseGrant(ApiModel):
    """The response to a registration: the lease lasts `ttl` seconds unless renewed."""

    ttl: float


class InstanceRef(ApiModel):
    """Names one instance of the calling agent's service."""

    instance: Name


class DrainResult(ApiModel):
    """Whether every connected sidecar that knew the instance has removed it; `waiting` names the others."""

    drained: bool
    waiting: tuple[str, ...] = ()


class InstanceStatus(ApiModel):
    """An instance with a lease; `address` is `host:port`."""

    name: str
    service: str
    address: str
    labels: dict[str, str] = Field({})
    health: InstanceHealth


class InstanceList(ApiModel):
    """Every instance with an unexpired lease."""

    instances: tuple[InstanceStatus, ...] = ()
