"""The words that agents, the command line and the control plane exchange, as frozen pydantic models.

All of them travel as JSON with camelCase keys unless a contract in the README fixes another spelling.
Unknown keys are ignored when reading, so that neighbours of different versions understand each other.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from meshwright.control_plane.api.auth import Rights
from meshwright.control_plane.api.spiffe import NAME_PATTERN

Name = Annotated[str, StringConstraints(pattern=f"^{NAME_PATTERN}$")]
LabelKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_./]{0,61}[A-Za-z0-9])?$")]
LabelValue = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")]
Protocol = Literal["http", "grpc", "tcp"]
ZONE_LABEL = "zone"
"""The instance label that says in which locality it runs."""

InstanceHealth = Literal["healthy", "unhealthy", "draining"]
ProxyState = Literal["synced", "pending", "rejected", "disconnected"]
BreakerState = Literal["closed", "partial", "open"]


class ApiModel(BaseModel):
    """Base of everything here: immutable, hashable, tolerant of keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Port(ApiModel):
    """A port of a service. `number` is what callers may name (`orders:9090`); 0 when they may not."""

    name: Name = "http"
    protocol: Protocol = "http"
    number: int = Field(0, ge=0, le=65535)


class Registration(ApiModel):
    """One instance as its agent announces it; renewed whole every third of the lease.

    `address` and `port` are the sidecar's inbound listener as other nodes reach it.
    """

    instance: Name
    service: Name
    address: str = Field(max_length=255)
    port: int = Field(ge=1, le=65535)
    ports: tuple[Port, ...] = Field((Port(),), max_length=16)
    labels: tuple[tuple[LabelKey, LabelValue], ...] = Field((), max_length=32)
    health: InstanceHealth = "healthy"


class LeaseGrant(ApiModel):
    """The answer to a registration: it stands for `ttl` seconds unless renewed."""

    ttl: float


class InstanceRef(ApiModel):
    """Names one instance of the caller's service."""

    instance: Name


class DrainResult(ApiModel):
    """`drained`: every connected sidecar that knew the instance has taken it out."""

    drained: bool
    waiting: tuple[str, ...] = ()


class SignRequest(ApiModel):
    """A PEM certificate signing request, 16 KiB at most; `token` only at enrolment."""

    csr: str = Field(max_length=16384)
    token: str = Field("", max_length=4096)


class SignResponse(ApiModel):
    """An SVID: PEM chain (leaf first) and the PEM trust bundle to verify peers with."""

    certificate: str
    bundle: str


class ClusterReport(ApiModel):
    """One upstream cluster as one Envoy sees it now.

    `ejected` of its `hosts` are taken out by outlier detection, `addresses` (`host:port`) are some of those;
    `limited`: a limit on connections or requests is reached, or refused something within the last second.
    """

    cluster: str = Field(max_length=256)
    hosts: int = Field(0, ge=0)
    ejected: int = Field(0, ge=0)
    ejected_addresses: tuple[Annotated[str, StringConstraints(max_length=255)], ...] = Field(
        (), max_length=16
    )
    limited: bool = False


class ProxyReport(ApiModel):
    """What a sidecar knows of itself. `service` is its gateway's name when it is one's proxy.

    `version` is Envoy's, `memory` the bytes that it holds, `expires` the end of its certificate in seconds
    since the epoch, `uptime` in seconds, `connected` whether its configuration stream stands. `metrics` is
    the `host:port` at which its figures are read, `app_metrics` whether its app has some there too.
    """

    node: Name
    service: Name
    version: str = Field("", max_length=64)
    memory: int = Field(0, ge=0)
    expires: float = Field(0, ge=0, allow_inf_nan=False)
    uptime: float = Field(0, ge=0, allow_inf_nan=False)
    connected: bool = False
    metrics: str = Field("", max_length=262, pattern=r"^([^\s/@?#]+:[0-9]{1,5})?$")
    app_metrics: bool = False
    clusters: tuple[ClusterReport, ...] = Field((), max_length=500)


# --- admin API -------------------------------------------------------------------------------------


class Condition(ApiModel):
    """Gateway API's status condition."""

    type: Literal["Accepted", "Conflicted", "Programmed", "Rejected"]
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""


class PolicyStatus(ApiModel):
    """`holders`: connected sidecars that have something which the policy shaped; `acked` took all of it."""

    kind: str
    name: str
    conditions: tuple[Condition, ...] = ()
    affected: int = 0
    acked: int = 0


class ServiceStatus(ApiModel):
    name: str
    instances: int
    healthy: int


class ProxyStatus(ApiModel):
    """How far a sidecar is.

    `revision`: the newest one whose whole configuration it has ACKed. `answered`: the newest one to all of
    which it has answered, `refused`: the newest one that brought something which it refuses (0: nothing).
    """

    name: str
    service: str
    state: ProxyState
    revision: int
    error: str = ""
    responded_revision: int = 0
    rejected_revision: int = 0


class ProxyDetail(ProxyStatus):
    """A proxy with what it told of itself (`reported`; else the fields after it say nothing).

    `pending`: responses that it has not answered. `version` is Envoy's, `memory` in bytes, `expires` the end
    of its certificate in seconds since the epoch, `uptime` in seconds.
    """

    connected: bool
    pending: int = 0
    reported: bool = False
    version: str = ""
    memory: int = 0
    expires: float = 0
    uptime: float = 0


class Breaker(ApiModel):
    """The circuit breakers of one edge: the worst that any sidecar of `from` has for the service `to`.

    `open`: all hosts are ejected or a limit is reached (`limited`); `partial`: some hosts are ejected.
    `ejected` of `hosts` are what that sidecar sees.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    from_: str = Field(alias="from")
    to: str
    state: BreakerState
    ejected: int
    hosts: int
    limited: bool = False


class InstanceStatus(ApiModel):
    name: str
    service: str
    address: str
    labels: dict[str, str] = {}
    health: InstanceHealth


class ControlPlaneStatus(ApiModel):
    """A control plane of this mesh. `address` is its xDS port, `admin` the URL of its API.

    `this` is the one that answers here. One that is `silent` (for so many seconds, `trouble` says why) has no
    part in what is shown once that lasts.
    """

    address: str
    admin: str = ""
    state: Literal["this", "answers", "silent"]
    unreachable_seconds: float = 0.0
    error: str = ""


class Status(ApiModel):
    revision: int
    store: Literal["ok", "degraded"]
    services: tuple[ServiceStatus, ...] = ()
    proxies: tuple[ProxyStatus, ...] = ()
    policies: tuple[PolicyStatus, ...] = ()
    breakers: tuple[Breaker, ...] = ()
    """Every edge that is called and has a CircuitBreaker."""
    problems: tuple[str, ...] = ()
    """Failures inside that kept the last good state, in words."""
    control_planes: tuple[ControlPlaneStatus, ...] = ()
    """All control planes, where there are several."""
    rights: Rights = "all"
    """What the token of who asks may do."""


class DocumentChange(ApiModel):
    kind: str
    name: str
    action: Literal["created", "changed", "deleted", "unchanged"]


class ApplyResult(ApiModel):
    revision: int
    changed: tuple[DocumentChange, ...] = ()


class RevisionInfo(ApiModel):
    """`time`: seconds since the epoch, by the store's clock."""

    revision: int
    author: str
    time: float
    message: str = ""
    changed: tuple[DocumentChange, ...] = ()
