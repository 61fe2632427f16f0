"""TCP services: each connection goes to one instance, under the same mutual TLS as requests.

A caller's sidecar listens for each declared upstream at an address of its own; the callee's sidecar tells its
tcp ports apart by SNI. Silent connections stay open: TCP keepalive detects dead peers.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.core import access_log
from meshwright.control_plane.core import http_connection_manager as http
from meshwright.control_plane.core.resource import LDS, Resource, encode
from meshwright.control_plane.core.views import UpstreamView
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.hooks import ListenerDirection
from meshwright.control_plane.policies.httproute.envoy import BLACKHOLE
from meshwright.control_plane.policies.tcproute import envoy as tcproute

KEEPALIVE = v3.TcpKeepalive(
    keepalive_time=v3.UInt32Value(value=30),
    keepalive_interval=v3.UInt32Value(value=10),
    keepalive_probes=v3.UInt32Value(value=3),
)
"""Detects a peer that vanished after a minute of silence."""

CONNECT_ATTEMPTS = 3
"""How often a connection is tried, by turns at the instances. Nothing was sent before it stands."""

TLS_INSPECTION_TIMEOUT = timedelta(seconds=1)
"""How long a port that accepts plaintext waits for a client's first bytes. In many protocols the server
speaks first; such a connection is not TLS."""


def listener_name(upstream: str) -> str:
    """`tcp/db` for the upstream db."""
    return f"tcp/{upstream}"


def upstream_listener(
    upstream: str, address: str, port: int, view: UpstreamView | None, *, request_log: bool = False
) -> Resource:
    """Where a caller's connections to `upstream` begin. While no such service exists (`view` is None) the
    listener closes connections at once."""
    return listener(listener_name(upstream), address, port, view, "outbound", request_log=request_log)


def listener(
    name: str,
    address: str,
    port: int,
    view: UpstreamView | None,
    direction: ListenerDirection,
    *,
    request_log: bool = False,
    policies: tuple[str, ...] = (),
    filters: Iterable[v3.Filter] = (),
    section: str = "",
) -> Resource:
    """A listener whose connections go to the backends by weight; the share of a missing one is closed.

    `policies` (`Kind/name`) shaped it besides those of the view. `filters` go before the TCP proxy.
    `section`: the listener of a gateway, by its name in the document.
    """
    entry = network_filter(name, view, direction, request_log=request_log, section=section)
    message = http.listener(name, address, port, [v3.FilterChain(filters=[*filters, entry])])
    refs = (*policies, *(view.policies if view else ()))
    return encode(LDS, name, message, required_clusters=clusters_of(view), policies=refs)


def network_filter(
    stat_prefix: str,
    view: UpstreamView | None,
    direction: ListenerDirection,
    *,
    request_log: bool,
    section: str = "",
) -> v3.Filter:
    """The filter that sends each connection to one of the backends."""
    proxy = v3.TcpProxy(
        stat_prefix=stat_prefix,
        idle_timeout=timedelta(0),
        max_connect_attempts=v3.UInt32Value(value=CONNECT_ATTEMPTS),
    )
    tcproute.set_backends(proxy, backends_of(view))
    if request_log:
        proxy.access_log.append(access_log.connection_log(direction, section))
    return _tcp_proxy_filter(proxy)


def backends_of(view: UpstreamView | None) -> list[tuple[str, int]]:
    """The clusters with their weights; connections to a missing one are closed."""
    backends = [(cluster or BLACKHOLE, weight) for cluster, weight in view.backends if weight] if view else []
    return backends or [(BLACKHOLE, 1)]


def clusters_of(view: UpstreamView | None) -> tuple[str, ...]:
    """The clusters that exist and get connections."""
    backends = view.backends if view else ()
    return tuple(dict.fromkeys(cluster for cluster, weight in backends if cluster and weight))


def app_filter(port: str, *, request_log: bool = False) -> v3.Filter:
    """The network filter by which a service's own sidecar forwards a connection to the application."""
    cluster = cluster_names.app_cluster(port)
    proxy = v3.TcpProxy(stat_prefix="inbound", cluster=cluster, idle_timeout=timedelta(0))
    if request_log:
        proxy.access_log.append(access_log.connection_log("inbound"))
    return _tcp_proxy_filter(proxy)


def _tcp_proxy_filter(proxy: v3.TcpProxy) -> v3.Filter:
    return v3.Filter(name="envoy.filters.network.tcp_proxy", typed_config=codec.pack(proxy))
