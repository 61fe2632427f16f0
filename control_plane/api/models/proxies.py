"""Proxies: what a sidecar reports, and how far its configuration has progressed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from meshwright.control_plane.api.models.base import ApiModel, Name, StrictModel

ProxyState = Literal["synced", "pending", "rejected", "disconnected"]


class ClusterReport(ApiModel):
    """One upstream cluster as one Envoy sees it.

    Outlier detection has ejected `ejected` of its `hosts`; `ejected_addresses` (`host:port`) are some of
    them. `limited`: a connection or request limit is reached, or rejected something within the last second.
    With CircuitBreaker's `halfOpen: probe`, `half_open` instances are being tried or were within the last
    second; `passed` and `failed` count the trials of this Envoy.
    """

    cluster: str = Field(max_length=256)
    hosts: int = Field(0, ge=0)
    ejected: int = Field(0, ge=0)
    ejected_addresses: tuple[Annotated[str, StringConstraints(max_length=255)], ...] = Field(
        (), max_length=16
    )
    limited: bool = False
    half_open: int = Field(0, ge=0)
    passed: int = Field(0, ge=0)
    failed: int = Field(0, ge=0)


CertificateState = Literal["valid", "expiring", "stale", "expired", "missing"]
"""`expiring`: it should have been renewed. `stale`: newer files cannot be used, and the certificate before
them is still served. `missing`: none can be used yet, and connections that need it are closed."""

MAX_CERTIFICATES, MAX_CERTIFICATE_HOSTS, MAX_CERTIFICATE_MESSAGE = 200, 8, 400


class CertificateReport(ApiModel):
    """A certificate of a proxy as it is on its node. `name` is that of the Certificate; several, joined by +,
    for CAs that are used together; `ExternalService/cards` for the client certificate that it names.

    `message` says what is wrong. `expires` is in epoch seconds, 0 without a certificate. `hosts` are some of
    the names that it is for.
    """

    name: str = Field(max_length=2048)
    state: CertificateState
    message: str = Field("", max_length=MAX_CERTIFICATE_MESSAGE)
    expires: float = Field(0, ge=0, allow_inf_nan=False)
    hosts: tuple[Annotated[str, StringConstraints(max_length=255)], ...] = Field(
        (), max_length=MAX_CERTIFICATE_HOSTS
    )

    @property
    def ref(self) -> str:
        """`Kind/name` of the document that names the files."""
        return self.name if "/" in self.name else f"Certificate/{self.name}"


class ProxyReport(ApiModel):
    """A sidecar's report about itself. For a gateway's proxy `service` is the gateway's name.

    `version` is Envoy's, `agent` the release of the agent (empty: it does not say), `memory` in bytes,
    `expires` the end of its certificate in epoch seconds, `uptime` in seconds, `connected` whether its xDS
    stream is up. `open_streams` are the requests and responses in progress, those of its app and those to it;
    what is upgraded (WebSocket) is one for as long as it is open. `metrics` is the `host:port` of its metrics
    endpoint, `app_metrics` whether that endpoint also serves the app's metrics. `certificates` are those
    that a gateway's listeners need.
    """

    node: Name
    service: Name
    version: str = Field("", max_length=64)
    agent: str = Field("", max_length=64)
    memory: int = Field(0, ge=0)
    expires: float = Field(0, ge=0, allow_inf_nan=False)
    uptime: float = Field(0, ge=0, allow_inf_nan=False)
    connected: bool = False
    open_streams: int = Field(0, ge=0)
    metrics: str = Field("", max_length=262, pattern=r"^([^\s/@?#]+:[0-9]{1,5})?$")
    app_metrics: bool = False
    clusters: tuple[ClusterReport, ...] = Field((), max_length=500)
    certificates: tuple[CertificateReport, ...] = Field((), max_length=MAX_CERTIFICATES)


class BoundListener(ApiModel):
    """A listener of a gateway, and the port where its node binds it.

    `option`: the option by which its operator chose the port (`--port`), so that it may differ from that of
    the Gateway; empty: it is that of the application file.
    """

    name: str
    port: int
    option: str = ""


class ProxyStatus(ApiModel):
    """The configuration state of one proxy. For that of a gateway, `listeners` are those its node chose.

    `revision`: the newest revision that it has ACKed completely. `responded_revision`: the newest revision
    for which it has ACKed or NACKed every resource. `rejected_revision`: the newest revision with a resource
    that it currently rejects, 0 if there is none. `published_revision`: the newest revision that its control
    plane serves it. `changed_revision`: the newest one that changed something it gets. `trial_revision`: the
    one on trial, if that changes something it gets. `unchecked_clusters`: new or changed ones whose first
    health check a pending proxy may wait for, as far as its control plane can tell; at most a few.
    """

    name: str
    service: str
    role: Literal["service", "gateway"] = "service"
    listeners: tuple[BoundListener, ...] = ()
    state: ProxyState
    revision: int
    error: str = ""
    responded_revision: int = 0
    rejected_revision: int = 0
    published_revision: int = 0
    changed_revision: int = 0
    trial_revision: int = 0
    unchecked_clusters: tuple[str, ...] = ()


class ProxyDetail(ProxyStatus):
    """A proxy's status with its latest report. Without one (`reported` is false) the fields after it are
    unset.

    `pending`: responses sent and not yet ACKed or NACKed. Units are those of ProxyReport.
    """

    connected: bool
    pending: int = 0
    reported: bool = False
    version: str = ""
    agent: str = ""
    memory: int = 0
    expires: float = 0
    uptime: float = 0


class ProxyList(ApiModel):
    """Proxies, sorted by service, then name."""

    proxies: tuple[ProxyDetail, ...] = ()


class EvictionRequest(StrictModel):
    """Who evicts a proxy and why."""

    author: str = Field("", max_length=200)
    message: str = Field("", max_length=500)


class EvictionResult(ApiModel):
    """A proxy that was evicted, and the number of its enrolments (one, or two after a restart)."""

    name: str
    service: str
    enrolments: int


class WaitResult(ApiModel):
    """The outcome of waiting for a revision.

    `proxies` have rejected the revision, or have not ACKed it yet. `rejecting_older` still reject a resource
    of an older revision. `pending_older` have not ACKed an older one, and this one changes nothing for them.
    `withdrawn`: why the revision was withdrawn; `waves` describes a push that is still under way.
    """

    state: Literal["programmed", "rejected", "timeout"]
    revision: int
    proxies: tuple[ProxyStatus, ...] = ()
    rejecting_older: tuple[ProxyStatus, ...] = ()
    pending_older: tuple[ProxyStatus, ...] = ()
    withdrawn: str = ""
    waves: str = ""
