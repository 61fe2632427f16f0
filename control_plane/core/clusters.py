"""ClusterView → Envoy's upstream cluster, shared by every caller of a service.

A changed cluster makes Envoy rebuild it and lose its connections and ejections, so nothing goes in here that
does not change its meaning.
"""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache

from meshwright.control_plane.api import header_limits
from meshwright.control_plane.core import http2, tcp, tls
from meshwright.control_plane.core.attachment import refs_of
from meshwright.control_plane.core.resource import CDS, Resource, ads_source, encode
from meshwright.control_plane.core.trials import add_trial
from meshwright.control_plane.core.views import ClusterView
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.httproute.envoy import BLACKHOLE

BUDGET_PERCENT, BUDGET_CONCURRENCY = 20.0, 20
"""The retry budget without a Retry: the defaults of Retry's budget."""

UNLIMITED = 2**32 - 1
"""Envoy's default limits (1024) would refuse requests without any policy."""

CONNECT_TIMEOUT = timedelta(seconds=1)

HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def cluster(view: ClusterView) -> Resource:
    """An upstream cluster: EDS, HTTP/2 over mutual TLS, no panic routing, no limits except policies'."""
    message = v3.Cluster(
        name=view.name,
        type=v3.Cluster.EDS,
        eds_cluster_config=v3.Cluster.EdsClusterConfig(eds_config=ads_source()),
        connect_timeout=CONNECT_TIMEOUT,
        lb_policy=v3.Cluster.LEAST_REQUEST,
        common_lb_config=v3.Cluster.CommonLbConfig(
            healthy_panic_threshold=v3.Percent(value=0), update_merge_window=timedelta(0)
        ),
        circuit_breakers=v3.CircuitBreakers(thresholds=[unlimited_thresholds()]),
        ignore_health_on_host_removal=True,
    )
    if view.port.protocol != "tcp":
        options = v3.HttpProtocolOptions(
            explicit_http_config=v3.HttpProtocolOptions.ExplicitHttpConfig(
                http2_protocol_options=http2.between_sidecars()
            )
        )
        limits = options.common_http_protocol_options
        limits.max_headers_count.value = header_limits.MAX_HEADERS_INSIDE
        limits.max_response_headers_kb.value = header_limits.MAX_KIB_INSIDE
        message.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(codec.pack(options))
    else:
        message.upstream_connection_options.tcp_keepalive.CopyFrom(tcp.KEEPALIVE)
    if not view.plaintext:
        alpn = () if view.port.protocol == "tcp" else tls.ALPN
        sni = tls.sni(view.service, view.port.name)
        message.transport_socket.CopyFrom(tls.upstream_socket(view.identity, sni, alpn))
    for policy in view.policies:
        policy.hooks.patch_cluster(message)
    if view.trial is not None:
        add_trial(message, view.trial)
    refs = refs_of(view.policies)
    return encode(CDS, view.name, message, policies=(*refs, view.subset) if view.subset else refs)


@lru_cache(maxsize=1)
def blackhole() -> Resource:
    """The cluster without endpoints: Envoy responds 503 for backends that do not exist."""
    message = v3.Cluster(name=BLACKHOLE, type=v3.Cluster.STATIC, connect_timeout=CONNECT_TIMEOUT)
    message.load_assignment.cluster_name = BLACKHOLE
    return encode(CDS, BLACKHOLE, message)


def unlimited_thresholds() -> v3.CircuitBreakers.Thresholds:
    """No limit except a retry budget, without which Envoy allows three concurrent retries."""
    unlimited = v3.UInt32Value(value=UNLIMITED)
    return v3.CircuitBreakers.Thresholds(
        max_connections=unlimited,
        max_pending_requests=unlimited,
        max_requests=unlimited,
        retry_budget=v3.CircuitBreakers.Thresholds.RetryBudget(
            budget_percent=v3.Percent(value=BUDGET_PERCENT),
            min_retry_concurrency=v3.UInt32Value(value=BUDGET_CONCURRENCY),
        ),
    )
