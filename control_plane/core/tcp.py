"""TCP services: connections instead of requests, each to one instance, under the same mutual TLS.

A caller's sidecar listens for each declared upstream at an address of its own; the callee's tells its tcp
ports apart by SNI. Connections are never cut for being silent: dead peers are found by TCP's own keepalive.
"""

from __future__ import annotations

from datetime import timedelta

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.core import access_log, http_connection_manager
from meshwright.control_plane.core.resource import LDS, Resource, encode
from meshwright.control_plane.core.routes import BLACKHOLE
from meshwright.control_plane.core.views import UpstreamView
from meshwright.control_plane.envoy import codec, v3

KEEPALIVE = v3.TcpKeepalive(
    keepalive_time=v3.UInt32Value(value=30),
    keepalive_interval=v3.UInt32Value(value=10),
    keepalive_probes=v3.UInt32Value(value=3),
)
"""A peer that vanished is found out after a minute of silence."""

TLS_INSPECTION_TIMEOUT = timedelta(seconds=1)
"""How long a port that takes plaintext waits for a client's first bytes; in many protocols the server speaks
first, and then it is no TLS."""


def listener_name(upstream: str) -> str:
    """`tcp/db` for the upstream db."""
    return f"tcp/{upstream}"


def listener(
    upstream: str, address: str, port: int, view: UpstreamView | None, *, request_log: bool = False
) -> Resource:
    """Where a caller's connections to `upstream` begin. There is one, too, while no such service is known
    (`view` None): it ends connections at once."""
    name = listener_name(upstream)
    shares = [(cluster or BLACKHOLE, weight) for cluster, weight in view.backends if weight] if view else []
    proxy = v3.TcpProxy(stat_prefix=name, idle_timeout=timedelta(0))
    if len(shares) > 1:
        kind = v3.TcpProxy.WeightedCluster
        proxy.weighted_clusters.clusters.extend(
            kind.ClusterWeight(name=cluster, weight=weight) for cluster, weight in shares
        )
    else:
        proxy.cluster = shares[0][0] if shares else BLACKHOLE
    if request_log:
        proxy.access_log.append(access_log.connection_log("outbound"))
    message = http_connection_manager.listener(
        name, address, port, [v3.FilterChain(filters=[_tcp_proxy_filter(proxy)])]
    )
    needs = tuple(dict.fromkeys(cluster for cluster, _ in shares if cluster != BLACKHOLE))
    return encode(LDS, name, message, required_clusters=needs, policies=view.policies if view else ())


def app_filter(port: str, *, request_log: bool = False) -> v3.Filter:
    """The network filter by which a service's own sidecar hands a connection to the app."""
    proxy = v3.TcpProxy(
        stat_prefix="inbound", cluster=cluster_names.app_cluster(port), idle_timeout=timedelta(0)
    )
    if request_log:
        proxy.access_log.append(access_log.connection_log("inbound"))
    return _tcp_proxy_filter(proxy)


def _tcp_proxy_filter(proxy: v3.TcpProxy) -> v3.Filter:
    return v3.Filter(name="envoy.filters.network.tcp_proxy", typed_config=codec.pack(proxy))
