"""The status of the mesh: revision, store, services, proxies, policies, control planes."""

from __future__ import annotations

from typing import Literal

from meshwright.control_plane.api.auth import Rights
from meshwright.control_plane.api.models.base import ApiModel
from meshwright.control_plane.api.models.policies import PolicyStatus
from meshwright.control_plane.api.models.proxies import ProxyStatus
from meshwright.control_plane.api.models.push import PushReport
from meshwright.control_plane.api.models.topology import Breaker, NodeHealth
from meshwright.control_plane.api.models.verdict import Verdict


class ServiceStatus(ApiModel):
    """A service as in the topology: its health, its instances with a lease, how many of them are healthy."""

    name: str
    instances: int
    healthy: int
    health: NodeHealth = "unknown"
    since: float = 0.0
    reason: str = ""


class GatewayStatus(ApiModel):
    """A gateway as in the topology: judged by the requests it sends. `proxies` are connected."""

    name: str
    health: NodeHealth
    proxies: int
    reason: str = ""


class ControlPlaneStatus(ApiModel):
    """A control plane of this mesh. `address` is its xDS endpoint, `admin` the URL of its admin API.

    `version` is its release, empty for one that does not say it. `this` is the one that sent the response.
    One that has been `unreachable` for `unreachable_seconds` (`error` says why) is soon left out of what the
    others report.
    """

    address: str
    admin: str = ""
    version: str = ""
    state: Literal["this", "reachable", "unreachable"]
    unreachable_seconds: float = 0.0
    error: str = ""


class PatchedResource(ApiModel):
    """A resource of the proxies of `owner`, a service or gateway, that EnvoyPatches change.

    `type` is Listener, RouteConfiguration or Cluster, `policies` are `Kind/name` in the order they apply.
    """

    owner: str
    type: str
    name: str
    policies: tuple[str, ...]


class ControlPlaneAbsence(ApiModel):
    """A time in which the control plane that sent the response did not run, in epoch seconds."""

    since: float
    until: float


class VersionSkew(ApiModel):
    """Versions of parts of the mesh that differ, in words. `supported`: they work together."""

    supported: bool
    message: str


class Status(ApiModel):
    """The current state of the mesh."""

    revision: int
    version: str = ""
    """The release of the control plane that sent the response."""
    store: Literal["ok", "degraded"]
    verdict: Verdict = Verdict()
    """Whether the mesh is healthy, and what is wrong."""
    services: tuple[ServiceStatus, ...] = ()
    gateways: tuple[GatewayStatus, ...] = ()
    proxies: tuple[ProxyStatus, ...] = ()
    policies: tuple[PolicyStatus, ...] = ()
    breakers: tuple[Breaker, ...] = ()
    """Circuit breakers of every edge that has traffic and a CircuitBreaker."""
    patched: tuple[PatchedResource, ...] = ()
    """Envoy's configuration that is patched by hand: what the other policies say need not hold there."""
    push: PushReport | None = None
    """The push in waves that is under way, and what was withdrawn; None if there was none."""
    skews: tuple[VersionSkew, ...] = ()
    """How the versions of control planes, agents and Envoys differ, as they do during an upgrade."""
    problems: tuple[str, ...] = ()
    """Internal failures after which the control plane kept the last good state, a sentence each."""
    control_planes: tuple[ControlPlaneStatus, ...] = ()
    """All control planes; empty if there is only one."""
    absence: ControlPlaneAbsence | None = None
    """The last time within the hour in which this control plane did not run."""
    rights: Rights = "all"
    """What the caller's token permits."""
