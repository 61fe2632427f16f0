"""Views: everything one piece of configuration depends on, and nothing else.

Equal views give equal bytes, so a view is the cache key of its translation. No view contains a revision, a
time or an allotted port.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from meshwright.control_plane.api.models.base import Protocol
from meshwright.control_plane.api.models.instances import Port
from meshwright.control_plane.api.node_certificates import CertificateFiles
from meshwright.control_plane.core.attachment import EffectivePolicy, refs_of
from meshwright.control_plane.core.shared_filters import SharedFilterView
from meshwright.control_plane.policies.externalservice.spec import ExternalPort, ExternalServiceSpec
from meshwright.control_plane.policies.gateway.edge import EdgeSettings
from meshwright.control_plane.policies.gateway.tls import ClientMode, TlsVersion
from meshwright.control_plane.policies.grpcroute.spec import GRPCRouteRule
from meshwright.control_plane.policies.hooks import EndpointWeights, TransportMode
from meshwright.control_plane.policies.httproute.envoy import ResolvedBackend, ResolvedMirror
from meshwright.control_plane.policies.httproute.envoy_filters import Scheme
from meshwright.control_plane.policies.httproute.spec import HTTPRouteRule

NO_EDGE_SETTINGS = EdgeSettings()


@dataclass(frozen=True, slots=True)
class RuleView:
    """One rule of a route with its backends and the policies in force there.

    `route` is `Kind/name`; empty for the rule of a service without routes. `age` orders rules that match
    equally (Gateway API: oldest route first, then name, then position). `grpc`: the rule is for gRPC, whose
    timeouts are deadlines and whose failures are statuses. Of the rules of one host those with the lower
    `tier` come first: it ranks the host names of the routes. `only_ports`: at a gateway without a Gateway
    document, whose port only its node knows, the rule is for these ports. `keeps_paths`: paths that an app
    may read in two ways are not refused. `rollouts` decide the weights.
    """

    route: str
    rule: HTTPRouteRule | GRPCRouteRule
    age: tuple[int, str, int]
    backends: tuple[ResolvedBackend, ...]
    mirrors: tuple[ResolvedMirror, ...]
    policies: tuple[EffectivePolicy, ...]
    grpc: bool = False
    tier: tuple[bool, int] = (False, 0)
    only_ports: tuple[int, ...] = ()
    keeps_paths: bool = False
    rollouts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HostView:
    """One virtual host: its domains and rules. A host without rules responds 404.

    `https_refused_for` names the service whose HTTPS host this is: it holds nothing but the refusal. `port`
    and `scheme` are those that redirects to another host keep; port 0 for the default port of the scheme.
    """

    name: str
    domains: tuple[str, ...]
    rules: tuple[RuleView, ...]
    https_refused_for: str = ""
    port: int = 0
    scheme: Scheme = "http"


@dataclass(frozen=True, slots=True)
class TrialView:
    """How an ejected instance is tried: when, by which protocol and, for http, at which declared path."""

    open_for: timedelta
    protocol: Protocol
    path: str = ""


@dataclass(frozen=True, slots=True)
class ClusterView:
    """One upstream cluster of a destination. `plaintext`: the destination accepts no TLS on this port.

    `trial` is set if ejected instances return by a trial.
    """

    name: str
    service: str
    port: Port
    identity: str
    plaintext: bool
    policies: tuple[EffectivePolicy, ...]
    subset: str = ""
    trial: TrialView | None = None


@dataclass(frozen=True, slots=True)
class ExternalClusterView:
    """The cluster of one port of an ExternalService; `ref` is the document.

    `ejected_for` is set if a CircuitBreaker ejects addresses: they return after this time.
    """

    name: str
    ref: str
    spec: ExternalServiceSpec
    port: ExternalPort
    policies: tuple[EffectivePolicy, ...]
    ejected_for: timedelta | None = None


@dataclass(frozen=True, slots=True)
class EgressClusterView:
    """How callers reach a port of an ExternalService through a gateway, which has `identity` (a SPIFFE ID).

    `sni` selects the port there. `outside`: the cluster without the gateway, with the caller's policies.
    """

    name: str
    identity: str
    sni: str
    outside: ExternalClusterView


@dataclass(frozen=True, slots=True)
class EgressView:
    """A port of the ExternalService `ref` at the gateway that its calls go through.

    `name` is that of its filter chain and routes, `cluster` leads outside. `callers` are the services and
    gateways that may; empty: all.
    """

    name: str
    ref: str
    sni: str
    port: ExternalPort
    cluster: str
    callers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExternalHostView:
    """The virtual host of one port of an ExternalService, and `networks`, whose addresses no domain names.

    `guarded`: the hosts are resolved as they are called, and must not be the sidecar's own loopback. A port
    that is not HTTP carries connections, by CONNECT, to `cluster`. `via`: the cluster leads to a gateway.
    """

    ref: str
    host: HostView
    port: ExternalPort
    cluster: str
    networks: tuple[str, ...] = ()
    guarded: bool = False
    via: bool = False


@dataclass(frozen=True, slots=True)
class LoadBalancingView:
    """How a caller's requests are spread over endpoints, and the policies (`Kind/name`) that say so.

    `trial`: the caller's clusters have a health check that goes to its agent.
    """

    weights: EndpointWeights
    policies: tuple[str, ...] = ()
    trial: bool = False


@dataclass(frozen=True, slots=True)
class DestinationView:
    """Everything a caller's sidecar needs to call one service, except endpoints."""

    service: str
    hosts: tuple[HostView, ...]
    clusters: tuple[ClusterView, ...]
    tunnels: tuple[TunnelView, ...] = ()


@dataclass(frozen=True, slots=True)
class UpstreamView:
    """The clusters of a tcp port and their weights; an empty cluster does not exist."""

    backends: tuple[tuple[str, int], ...]
    policies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TunnelView:
    """A tcp port with a number, which callers reach by CONNECT to one of its domains (`db:5432`)."""

    domains: tuple[str, ...]
    upstream: UpstreamView


@dataclass(frozen=True, slots=True)
class ExternalView:
    """How a caller reaches one ExternalService, except by which clusters. `upstreams`: its tcp port."""

    ref: str
    hosts: tuple[ExternalHostView, ...]
    upstreams: tuple[tuple[str, UpstreamView], ...] = ()


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """What shapes the connection managers of a node besides its routes.

    `owner` is the service or gateway. `policies` implement `patch_listener`, defaults of kinds included.
    `tracing`: the node has a collector to send spans to. `request_log`: the control plane takes its request
    log. `span_log`: it takes spans as log records (span_log.py).
    """

    owner: str
    policies: tuple[EffectivePolicy, ...] = ()
    tracing: bool = False
    request_log: bool = False
    span_log: bool = False

    @property
    def logs_spans(self) -> bool:
        """Whether log records stand for some of the spans."""
        return self.tracing and self.span_log

    @property
    def refs(self) -> tuple[str, ...]:
        """The policies' documents."""
        return refs_of(self.policies)

    @property
    def required_clusters(self) -> tuple[str, ...]:
        """Clusters that the policies depend on."""
        return tuple(dict.fromkeys(name for policy in self.policies for name in policy.hooks.dependencies()))


@dataclass(frozen=True, slots=True)
class NodeView:
    """What a service's own sidecars depend on besides the destinations they call."""

    service: str
    ports: tuple[Port, ...]
    mode: TransportMode
    policies: tuple[EffectivePolicy, ...]
    settings: ListenerSettings
    filters: tuple[SharedFilterView, ...] = ()
    trust_domain: str = "mesh.local"


@dataclass(frozen=True, slots=True)
class TlsView:
    """How TLS ends at a gateway: by which certificates, and from which version on.

    `client_cas` verify client certificates; without any none is asked for.
    """

    certificates: tuple[CertificateFiles, ...]
    minimum_version: TlsVersion = "1.2"
    client_cas: tuple[CertificateFiles, ...] = ()
    client_mode: ClientMode = "Required"


@dataclass(frozen=True, slots=True)
class SecureListenerView:
    """A listener for connections to `hostname` (by SNI; empty: all that no other listener of the port names).

    `tls` is None where TLS passes through. `hosts` for HTTPS, with `other_hosts` of listeners beside it, to
    whose requests it responds 421. Otherwise `upstreams`: where connections go, by host name, and `policies`
    in force for them. `certificates` are the documents (`Kind/name`) that it needs.
    """

    name: str
    hostname: str
    tls: TlsView | None
    hosts: tuple[HostView, ...] = ()
    other_hosts: tuple[str, ...] = ()
    upstreams: tuple[tuple[str, UpstreamView], ...] = ()
    policies: tuple[EffectivePolicy, ...] = ()
    certificates: tuple[str, ...] = ()

    @property
    def takes_requests(self) -> bool:
        """Whether it is for HTTPS; otherwise it passes on connections."""
        return not self.upstreams


@dataclass(frozen=True, slots=True)
class ListenerView:
    """A gateway's listener: `hosts` for HTTP, `tcp` for TCP, `secure` for HTTPS and TLS.

    `port` is 0 when only the node knows it. `policies` are in force for the connections of a TCP listener.
    """

    name: str
    port: int
    hosts: tuple[HostView, ...]
    tcp: UpstreamView | None = None
    policies: tuple[EffectivePolicy, ...] = ()
    secure: tuple[SecureListenerView, ...] = ()

    @property
    def all_hosts(self) -> tuple[HostView, ...]:
        """The hosts of HTTP and HTTPS."""
        return (*self.hosts, *(host for secure in self.secure for host in secure.hosts))


@dataclass(frozen=True, slots=True)
class GatewayView:
    """What a gateway's proxies depend on.

    `document` is `Gateway/name`; empty when there is none. `edge` is what it sets about clients. `egress`:
    calls to hosts outside that go through it.
    """

    name: str
    settings: ListenerSettings
    listeners: tuple[ListenerView, ...]
    document: str = ""
    edge: EdgeSettings = NO_EDGE_SETTINGS
    filters: tuple[SharedFilterView, ...] = ()
    egress: tuple[EgressView, ...] = ()


def default_port(ports: tuple[Port, ...]) -> Port | None:
    """The port that a bare host name means: the first http port, else the first gRPC, else the first tcp."""
    for protocol in ("http", "grpc", "tcp"):
        for port in ports:
            if port.protocol == protocol:
                return port
    return None
