"""DestinationView → what a caller's sidecar needs to reach one service: clusters and virtual hosts.

They are built per destination and shared by all who call it; endpoints travel apart. A change to a cluster
makes Envoy build it anew and lose its connections, so nothing goes in here that does not change its meaning.
"""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache

from meshwright.control_plane.core import connect_tunnel, http_connection_manager, routes, tcp, tls
from meshwright.control_plane.core.resource import CDS, LDS, RDS, VHDS, Resource, encode
from meshwright.control_plane.core.views import ClusterView, DestinationView, HostView, TelemetryView
from meshwright.control_plane.envoy import codec, v3

LISTENER = "outbound"
ROUTES = "out"
BLACKHOLE = routes.BLACKHOLE
BUDGET_PERCENT, BUDGET_CONCURRENCY = 20.0, 20
"""The retry budget where no Retry sets one: the defaults of Retry's own."""

UNLIMITED = 2**32 - 1
"""Envoy's own limits (1024) would refuse requests that no policy speaks of."""

CONNECT_TIMEOUT = timedelta(seconds=1)
ODCDS_TIMEOUT = timedelta(seconds=3)
VHDS_FETCH_TIMEOUT = timedelta(milliseconds=50)
"""An empty VHDS answer does not end Envoy's initial fetch, which by default lasts 15 s."""


def listener(address: str, port: int, told: TelemetryView) -> Resource:
    """The HTTP proxy that a service's own calls go through; hosts and clusters come on demand."""
    manager = _connection_manager(LISTENER, told)
    manager.upgrade_configs.append(
        http_connection_manager.HCM.UpgradeConfig(upgrade_type=connect_tunnel.CONNECT)
    )
    chain = v3.FilterChain(filters=[http_connection_manager.network_filter(manager)])
    return encode(
        LDS, LISTENER, http_connection_manager.listener(LISTENER, address, port, [chain]), policies=told.refs
    )


def tunnel_listener(told: TelemetryView) -> Resource:
    """Where tunnels end: the same routes for what comes out of them."""
    manager = _connection_manager(f"{LISTENER}_{connect_tunnel.LISTENER}", told)
    message = v3.Listener(
        name=connect_tunnel.LISTENER,
        internal_listener=v3.Listener.InternalListenerConfig(),
        filter_chains=[v3.FilterChain(filters=[http_connection_manager.network_filter(manager)])],
        per_connection_buffer_limit_bytes=v3.UInt32Value(value=http_connection_manager.BUFFER_LIMIT),
    )
    return encode(LDS, connect_tunnel.LISTENER, message, policies=told.refs)


def _connection_manager(stat_prefix: str, told: TelemetryView) -> http_connection_manager.HCM:
    on_demand = v3.OnDemand(
        odcds=v3.OnDemandCds(source=http_connection_manager.ads_source(), timeout=ODCDS_TIMEOUT)
    )
    filters = [
        http_connection_manager.http_filter("envoy.filters.http.on_demand", on_demand),
        http_connection_manager.grpc_stats_filter(),
        http_connection_manager.fault_filter(),
    ]
    found = http_connection_manager.connection_manager("outbound", stat_prefix, ROUTES, told, filters)
    # Apps are what they are: nginx passes requests on by HTTP/1.0 unless it is told otherwise.
    found.http_protocol_options.accept_http_10 = True
    return found


def route_configuration() -> Resource:
    """The frame that on-demand virtual hosts hang in."""
    source = http_connection_manager.ads_source()
    source.initial_fetch_timeout.FromTimedelta(VHDS_FETCH_TIMEOUT)
    message = v3.RouteConfiguration(
        name=ROUTES,
        vhds=v3.Vhds(config_source=source),
        most_specific_header_mutations_wins=routes.MOST_SPECIFIC_HEADERS_WIN,
    )
    return encode(RDS, ROUTES, message)


def virtual_host(view: HostView) -> Resource:
    """One on-demand virtual host; its aliases are all names callers may use."""
    name = f"{ROUTES}/{view.name}"
    built = routes.build_routes(view)
    # Routes by path never match CONNECT, which has none.
    tunnel = (
        connect_tunnel.refusal(view.https_refused_for) if view.https_refused_for else connect_tunnel.tunnel()
    )
    message = v3.VirtualHost(name=name, domains=view.domains, routes=[*built.routes, tunnel])
    aliases = tuple(f"{ROUTES}/{domain}" for domain in view.domains)
    return encode(
        VHDS, name, message, aliases=aliases, required_clusters=built.clusters, policies=built.policies
    )


def destination(view: DestinationView) -> tuple[Resource, ...]:
    """All resources of one destination, clusters first."""
    return (*map(cluster, view.clusters), *map(virtual_host, view.hosts))


def cluster(view: ClusterView) -> Resource:
    """An upstream cluster: EDS, HTTP/2 over mutual TLS, no panic routing, no limits but what policies set."""
    message = v3.Cluster(
        name=view.name,
        type=v3.Cluster.EDS,
        eds_cluster_config=v3.Cluster.EdsClusterConfig(eds_config=http_connection_manager.ads_source()),
        connect_timeout=CONNECT_TIMEOUT,
        lb_policy=v3.Cluster.LEAST_REQUEST,
        common_lb_config=v3.Cluster.CommonLbConfig(
            healthy_panic_threshold=v3.Percent(value=0), update_merge_window=timedelta(0)
        ),
        circuit_breakers=v3.CircuitBreakers(thresholds=[_default_thresholds()]),
        ignore_health_on_host_removal=True,
    )
    if view.port.protocol != "tcp":
        options = v3.HttpProtocolOptions(
            explicit_http_config=v3.HttpProtocolOptions.ExplicitHttpConfig(
                http2_protocol_options=http_connection_manager.http2_options()
            )
        )
        key = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
        message.typed_extension_protocol_options[key].CopyFrom(codec.pack(options))
    else:
        message.upstream_connection_options.tcp_keepalive.CopyFrom(tcp.KEEPALIVE)
    if not view.plaintext:
        alpn = () if view.port.protocol == "tcp" else tls.ALPN
        sni = tls.sni(view.service, view.port.name)
        message.transport_socket.CopyFrom(tls.upstream_socket(view.identity, sni, alpn))
    for bound in view.policies:
        bound.spec.patch_cluster(message)
    refs = tuple(one.ref for one in view.policies)
    return encode(CDS, view.name, message, policies=(*refs, view.subset) if view.subset else refs)


@lru_cache(maxsize=1)
def blackhole() -> Resource:
    """The cluster without endpoints: it answers 503 for backends that do not exist."""
    message = v3.Cluster(name=BLACKHOLE, type=v3.Cluster.STATIC, connect_timeout=CONNECT_TIMEOUT)
    message.load_assignment.cluster_name = BLACKHOLE
    return encode(CDS, BLACKHOLE, message)


def _default_thresholds() -> v3.CircuitBreakers.Thresholds:
    """No limit but a retry budget, without which Envoy stops at three retries at a time."""
    most = v3.UInt32Value(value=UNLIMITED)
    return v3.CircuitBreakers.Thresholds(
        max_connections=most,
        max_pending_requests=most,
        max_requests=most,
        retry_budget=v3.CircuitBreakers.Thresholds.RetryBudget(
            budget_percent=v3.Percent(value=BUDGET_PERCENT),
            min_retry_concurrency=v3.UInt32Value(value=BUDGET_CONCURRENCY),
        ),
    )
