"""What is seen of a running mesh: who calls whom, how much, how well, how fast."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from meshwright.control_plane.api.models.base import ApiModel, BreakerState, Protocol

NodeRole = Literal["service", "gateway"]
NodeHealth = Literal["healthy", "degraded", "unhealthy", "unknown"]


class TopologyNode(ApiModel):
    """A service or a gateway of the mesh."""

    name: str
    role: NodeRole = "service"
    health: NodeHealth = Field(
        description="The worst of: its instances (unhealthy: none is healthy, degraded: not all are), what "
        "became of its callers' calls, what its own sidecars answered, tries that were retried and callers "
        "outside the mesh included (both: unhealthy below 50 % success, degraded below 95 %, from 10 of them "
        "on within the window), and degraded where a breaker towards it is open. A gateway is healthy while "
        "a proxy of it follows its configuration; unknown: it had none within a minute."
    )
    instances: int = Field(0, description="Instances with a lease; 0 for a gateway.")
    healthy: int = Field(0, description="Those of them that are healthy.")


class VersionTraffic(ApiModel):
    """Those calls of an edge that a route sent to one version of the service, as Subsets name them."""

    version: str = Field(description="The Subset's name.")
    rps: float = Field(description="As of the edge.")
    success: float = Field(description="As of the edge.")
    p99_ms: float = Field(description="99 % of the requests took less, in ms; 0: none.")


class TopologyEdge(ApiModel):
    """Calls from one service or gateway to a service, over the topology's window."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    from_: str = Field(alias="from", description="The caller.")
    to: str = Field(description="The service that is called.")
    protocol: Protocol = Field("http", description="What most of it speaks.")
    rps: float = Field(
        description="Requests that got their final answer in a second, whoever made it: the service, a "
        "proxy, FaultInjection; for TCP: connections that were asked for."
    )
    success: float = Field(
        description="Share (0..1) of final answers that are no failure: not 5xx; for gRPC, whose status "
        "alone counts, not UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE or DATA_LOSS; for TCP: of "
        "connections that were made. 1 where there was nothing to answer."
    )
    p50_ms: float = Field(
        description="Half of the requests that an instance answered took less, in ms from their first try to "
        "the last answer; 0: none, as always for TCP."
    )
    p95_ms: float = Field(description="95 % of the requests took less, in ms; 0: none.")
    p99_ms: float = Field(description="99 % of the requests took less, in ms; 0: none.")
    retries_per_s: float = Field(0.0, description="Retries in a second.")
    breaker: BreakerState = Field("closed", description="The circuit breaker, at the worst of its sidecars.")
    ejected: int = Field(0, description="Instances that a caller's sidecar leaves out at this moment.")
    mtls: bool = Field(description="Whether both ends prove who they are by mutual TLS.")
    versions: tuple[VersionTraffic, ...] = Field(
        (), description="What of it was sent to Subsets of the service."
    )


class Topology(ApiModel):
    """The mesh as a graph."""

    window: float = Field(10.0, description="Seconds that rates, success and latency are taken over.")
    nodes: tuple[TopologyNode, ...] = ()
    edges: tuple[TopologyEdge, ...] = Field(
        (),
        description="Those with traffic, or for TCP an open connection, within the last minute "
        "(`MESH_EDGE_FADES` sets another time).",
    )


class HistoryPoint(ApiModel):
    """One point of a history: sums over its step."""

    age_s: float = Field(description="Seconds since it began.")
    requests: float = Field(description="Requests answered.")
    failures: float = Field(description="Those of them that failed.")
    retries: float = 0.0
    connections: float = Field(0.0, description="Connections opened.")
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0


class EdgeHistory(ApiModel):
    """The last quarter of an hour of one edge, oldest first."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    from_: str = Field(alias="from")
    to: str
    step: float = Field(description="Seconds of one point.")
    points: tuple[HistoryPoint, ...] = ()


class ServiceTrend(ApiModel):
    """How a service did lately, oldest first: one value a step, from the first step that is known.

    The newest step may still go on: its values are those of the part of it that is told.
    """

    step: float = Field(description="Seconds of one point.")
    rps: tuple[float, ...] = Field((), description="Requests in a second; for TCP: connections.")
    failures_per_s: tuple[float, ...] = Field((), description="Those of them that failed, in a second.")
    p99_ms: tuple[float, ...] = Field((), description="99 % of the requests took less, in ms; 0: none.")


class ServiceSummary(ApiModel):
    """A service by all calls to it, or a gateway by all calls that it makes, over the topology's window."""

    name: str
    role: NodeRole = "service"
    health: NodeHealth = Field(description="As in the topology.")
    rps: float = Field(0.0, description="Requests answered in a second; for TCP: connections.")
    success: float = Field(1.0, description="Share (0..1) of them that did not fail; 1 without any.")
    p50_ms: float = Field(0.0, description="Half of the requests took less, in ms with retries; 0: none.")
    p95_ms: float = Field(0.0, description="95 % of the requests took less, in ms; 0: none.")
    p99_ms: float = Field(0.0, description="99 % of the requests took less, in ms; 0: none.")
    retries_per_s: float = Field(0.0, description="Retries in a second.")
    breaker: BreakerState = Field(
        "closed", description="The worst circuit breaker towards the service, of a gateway: of what it calls."
    )
    ejected: int = Field(0, description="Instances that some caller's sidecar leaves out at this moment.")
    instances: int = Field(0, description="Instances with a lease; 0 for a gateway.")
    healthy: int = Field(0, description="Those of them that are healthy.")
    mtls: bool = Field(True, description="Whether all of these calls are made by mutual TLS.")
    history: ServiceTrend = Field(ServiceTrend(step=16.0), description="The last 15 minutes.")


class ServiceList(ApiModel):
    """Every service and gateway, by name."""

    window: float = Field(10.0, description="Seconds that rates, success and latency are taken over.")
    services: tuple[ServiceSummary, ...] = ()


class ServiceHistory(ApiModel):
    """The last quarter of an hour of all calls to a service (of a gateway: from it), oldest first."""

    name: str
    step: float = Field(description="Seconds of one point.")
    points: tuple[HistoryPoint, ...] = ()
