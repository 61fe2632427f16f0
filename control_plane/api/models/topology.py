"""The service graph: traffic, health and latency of services and of the edges between them."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from meshwright.control_plane.api.models.base import ApiModel, Protocol

NodeRole = Literal["service", "gateway", "external"]
"""`external`: an ExternalService, or all other hosts outside the mesh that its services call."""
NodeHealth = Literal["healthy", "degraded", "unhealthy", "unknown", "idle"]
BreakerState = Literal["closed", "half-open", "partial", "open"]
EdgeBreaker = Literal["none", "closed", "half-open", "partial", "open"]
"""The state of an edge's circuit breaker; `none`: no CircuitBreaker protects the edge."""

_MS = "in ms; 0: no such requests."

_REFUSED = "4xx per second that a proxy itself responded with, such as no route or a limit; part of `rps`."


class HealthThresholds(ApiModel):
    """The thresholds by which nodes and edges are rated, so that clients can colour what they show alike."""

    degraded_below: float = Field(0.95, description="Success rate (0..1) below which a node is degraded.")
    unhealthy_below: float = Field(0.5, description="Success rate (0..1) below which it is unhealthy.")
    min_requests: int = Field(
        10, description="Requests within the window from which on the success rate counts."
    )


class Breaker(ApiModel):
    """The circuit breakers of one edge: the worst state among the caller's sidecars.

    `open`: all hosts are ejected, or a connection or request limit is reached (`limited`). `partial`: some
    hosts are ejected. `half-open`: an ejected host is being tried, or was within the last second. `ejected`
    of `hosts` are as that sidecar sees them. `trials_passed` and `trials_failed` count the trials of all
    sidecars of the caller, as long as their agents run.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    from_: str = Field(alias="from")
    to: str
    state: BreakerState
    ejected: int
    hosts: int
    limited: bool = False
    trials_passed: int = 0
    trials_failed: int = 0


class TopologyNode(ApiModel):
    """A service or a gateway of the mesh."""

    name: str
    role: NodeRole = "service"
    health: NodeHealth = Field(
        description="The worst of three: its instances (unhealthy: none is healthy; degraded: some are not); "
        "the success rates of requests to it and of its own sidecars' responses, including retried attempts "
        "and callers outside the mesh (see `thresholds`); and degraded while a circuit breaker towards it is "
        "open. A gateway is judged by the requests it sends, and unhealthy while none of its proxies is "
        "connected. Unknown: a gateway without a proxy within the last minute. Idle: a service whose last "
        "instance left cleanly, or a caller without ports that has ended."
    )
    instances: int = Field(0, description="Instances with a lease; 0 for a gateway.")
    healthy: int = Field(0, description="Healthy instances.")
    since: float = Field(0.0, description="When the last instance left, in epoch seconds; 0: it has one.")
    reason: str = Field("", description="Why it is unhealthy or degraded; empty: it is not, or nobody knows.")


class VersionTraffic(ApiModel):
    """The part of an edge's traffic that a route sent to one Subset of the service."""

    version: str = Field(description="The Subset's name.")
    health: NodeHealth = Field("healthy", description="As for the edge.")
    rps: float = Field(description="As for the edge.")
    success: float = Field(description="As for the edge.")
    p99_ms: float = Field(description=f"99th percentile of the latency, {_MS}")


class TopologyEdge(ApiModel):
    """Traffic from one service or gateway to a service within the topology's window."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    from_: str = Field(alias="from", description="The caller.")
    to: str = Field(description="The called service.")
    protocol: Protocol = Field("http", description="The protocol of most of the traffic.")
    health: NodeHealth = Field(
        "healthy",
        description="The verdict on the success rate (see `thresholds`); degraded while the circuit breaker "
        "is open.",
    )
    rps: float = Field(
        description="Requests per second that got their final response, from the service or a proxy. TCP: "
        "attempted connections per second."
    )
    success: float = Field(
        description="Success rate (0..1) of final responses. Failures are 5xx; for gRPC, where only its "
        "status counts, UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE and DATA_LOSS; for TCP, "
        "connections that could not be made. 1 without traffic."
    )
    p50_ms: float = Field(
        description="Median latency as callers see it, with retries, delays and timeouts, in ms; 0: no "
        "requests, always for TCP."
    )
    p95_ms: float = Field(description=f"95th percentile of the latency, {_MS}")
    p99_ms: float = Field(description=f"99th percentile of the latency, {_MS}")
    retries_per_s: float = Field(0.0, description="Retries per second.")
    refused_per_s: float = Field(0.0, description=_REFUSED)
    breaker: EdgeBreaker = Field(
        "none",
        description="State of the circuit breaker, the worst of the caller's sidecars; `none`: there is "
        "none.",
    )
    ejected: int = Field(0, description="Instances that a sidecar of the caller currently ejects.")
    mtls: bool = Field(description="Whether both sides authenticate with mutual TLS.")
    versions: tuple[VersionTraffic, ...] = Field((), description="Traffic by Subset of the service.")


class Topology(ApiModel):
    """The mesh as a graph."""

    window: float = Field(10.0, description="Seconds over which rates, success and latency are measured.")
    nodes: tuple[TopologyNode, ...] = ()
    edges: tuple[TopologyEdge, ...] = Field(
        (),
        description="Edges with traffic, or with an open TCP connection, within the last minute "
        "(`MESH_EDGE_TTL` sets another time).",
    )
    thresholds: HealthThresholds = Field(
        HealthThresholds(), description="The success rates below which a node or edge is not healthy."
    )


class HistoryPoint(ApiModel):
    """One point of a history: totals over one step."""

    age_s: float = Field(description="Seconds since the step began.")
    requests: float = Field(description="Requests with a final response.")
    failures: float = Field(description="How many of them failed.")
    retries: float = 0.0
    connections: float = Field(0.0, description="Connections opened.")
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0


class EdgeHistory(ApiModel):
    """The last 15 minutes of one edge, oldest first."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    from_: str = Field(alias="from")
    to: str
    step: float = Field(description="Seconds per point.")
    points: tuple[HistoryPoint, ...] = ()


class ServiceTrend(ApiModel):
    """Recent traffic of a service, oldest first: one value per step, from the first step with data.

    The newest step may be incomplete: its values cover the part that has been reported.
    """

    step: float = Field(description="Seconds per point.")
    rps: tuple[float, ...] = Field((), description="Requests per second; for TCP: connections.")
    failures_per_s: tuple[float, ...] = Field((), description="Failed requests per second.")
    p99_ms: tuple[float, ...] = Field((), description=f"99th percentile of the latency, {_MS}")


class ServiceSummary(ApiModel):
    """A service with all requests to it, or a gateway with all requests from it, within the window."""

    name: str
    role: NodeRole = "service"
    health: NodeHealth = Field(description="As in the topology.")
    rps: float = Field(0.0, description="Requests per second with a final response; for TCP: connections.")
    success: float = Field(1.0, description="Success rate (0..1); 1 without traffic.")
    p50_ms: float = Field(0.0, description=f"Median latency, retries included, {_MS}")
    p95_ms: float = Field(0.0, description=f"95th percentile of the latency, {_MS}")
    p99_ms: float = Field(0.0, description=f"99th percentile of the latency, {_MS}")
    retries_per_s: float = Field(0.0, description="Retries per second.")
    refused_per_s: float = Field(0.0, description=_REFUSED)
    breaker: EdgeBreaker = Field(
        "none",
        description="The worst circuit breaker towards the service; for a gateway, of the services it calls; "
        "`none`: there is none.",
    )
    ejected: int = Field(0, description="Instances that a sidecar of some caller currently ejects.")
    instances: int = Field(0, description="Instances with a lease; 0 for a gateway.")
    healthy: int = Field(0, description="Healthy instances.")
    since: float = Field(0.0, description="As in the topology.")
    reason: str = Field("", description="As in the topology.")
    mtls: bool = Field(True, description="Whether all of this traffic uses mutual TLS.")
    history: ServiceTrend = Field(ServiceTrend(step=16.0), description="The last 15 minutes.")


class ServiceList(ApiModel):
    """Every service and gateway, by name."""

    window: float = Field(10.0, description="Seconds over which rates, success and latency are measured.")
    services: tuple[ServiceSummary, ...] = ()


class ForgottenService(ApiModel):
    """A service that the mesh no longer knows."""

    name: str


class ServiceHistory(ApiModel):
    """The last 15 minutes of all requests to a service (of a gateway: from it), oldest first."""

    name: str
    step: float = Field(description="Seconds per point.")
    points: tuple[HistoryPoint, ...] = ()
