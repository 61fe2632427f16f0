"""Views: all that one piece of configuration depends on, and nothing else.

Equal views give equal bytes, so a view is the key under which translated resources are kept. No view holds a
revision, a clock or an allotted port.
"""

from __future__ import annotations

from dataclasses import dataclass

from meshwright.control_plane.api.models.instances import Port
from meshwright.control_plane.core.attachment import EffectivePolicy
from meshwright.control_plane.policies.base import EndpointWeights
from meshwright.control_plane.policies.httproute.spec import HTTPBackendRef, HTTPRouteRule
from meshwright.control_plane.policies.mutualtls.spec import MutualTLSMode
from meshwright.control_plane.policies.telemetry.spec import TelemetrySpec


@dataclass(frozen=True, slots=True)
class BackendView:
    """A backendRef, resolved. `cluster` is empty when there is no such service, port or subset."""

    ref: HTTPBackendRef
    cluster: str


@dataclass(frozen=True, slots=True)
class MirrorView:
    """A mirror's cluster and the share of requests that is copied, 0 to 1."""

    cluster: str
    share: float


@dataclass(frozen=True, slots=True)
class RuleView:
    """One rule of a route with its backends and what is in force there.

    `route` is `Kind/name`; empty for the rule a service has when no route is attached to it. `age` orders
    rules that match equally (Gateway API: oldest route first, then name, then position). `grpc`: the rule is
    for gRPC, whose limits of time are deadlines and whose failures are statuses. `ranks` are those of a
    GRPCRoute's matches, which take nothing but gRPC calls; empty for an HTTPRoute, whose paths rank it.
    """

    route: str
    rule: HTTPRouteRule
    age: tuple[int, str, int]
    backends: tuple[BackendView, ...]
    mirrors: tuple[MirrorView, ...]
    policies: tuple[EffectivePolicy, ...]
    grpc: bool = False
    ranks: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class HostView:
    """One virtual host: the names it answers to and its rules; no rule means 404.

    `refused` names the service whose HTTPS this host stands for: nothing but the refusal is there.
    """

    name: str
    domains: tuple[str, ...]
    rules: tuple[RuleView, ...]
    https_refused_for: str = ""


@dataclass(frozen=True, slots=True)
class ClusterView:
    """One upstream cluster of a destination. `plaintext`: the destination has MutualTLS Disabled."""

    name: str
    service: str
    port: Port
    identity: str
    plaintext: bool
    policies: tuple[EffectivePolicy, ...]
    subset: str = ""


@dataclass(frozen=True, slots=True)
class LoadBalancingView:
    """How a caller's requests are shared among endpoints, and the policies (`Kind/name`) that say so."""

    weights: EndpointWeights
    policies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DestinationView:
    """Everything a caller's sidecar needs to call one service, endpoints apart."""

    service: str
    hosts: tuple[HostView, ...]
    clusters: tuple[ClusterView, ...]


@dataclass(frozen=True, slots=True)
class UpstreamView:
    """Where connections to a tcp port of a service go: clusters (empty: there is none) and their weights."""

    backends: tuple[tuple[str, int], ...]
    policies: tuple[str, ...] = ()


DEFAULT_TELEMETRY_SPEC = TelemetrySpec()
"""The defaults, where no Telemetry says otherwise."""


@dataclass(frozen=True, slots=True)
class TelemetryView:
    """What a node tells of its requests. `ref` is the Telemetry (`Kind/name`) that says so, if one does.

    `traced`: the node has a collector to send spans to; `heard`: the control plane takes its request log.
    """

    service: str
    spec: TelemetrySpec = DEFAULT_TELEMETRY_SPEC
    ref: str = ""
    tracing: bool = False
    request_log: bool = False

    @property
    def refs(self) -> tuple[str, ...]:
        """`ref`, or nothing."""
        return (self.ref,) if self.ref else ()


@dataclass(frozen=True, slots=True)
class NodeView:
    """What a service's own sidecars depend on beside the destinations they call."""

    service: str
    ports: tuple[Port, ...]
    mode: MutualTLSMode
    policies: tuple[EffectivePolicy, ...]
    telemetry: TelemetryView


@dataclass(frozen=True, slots=True)
class ListenerView:
    """A gateway's listener. `port` is 0 when the node itself says where it binds."""

    name: str
    port: int
    hosts: tuple[HostView, ...]


@dataclass(frozen=True, slots=True)
class GatewayView:
    """What a gateway's proxies depend on. `document` is `Gateway/name`, empty when there is none."""

    name: str
    telemetry: TelemetryView
    listeners: tuple[ListenerView, ...]
    document: str = ""


def default_port(ports: tuple[Port, ...]) -> Port | None:
    """The port that a name without a port means: the first http one, else gRPC, else tcp."""
    for protocol in ("http", "grpc", "tcp"):
        for port in ports:
            if port.protocol == protocol:
                return port
    return None
