"""The bootstrap's static listeners: readiness and metrics, the port for the app's own spans, trials."""

from __future__ import annotations

from meshwright.control_plane.api import cluster_names
from meshwright.sidecar.bootstrap.clusters import socket_address
from meshwright.sidecar.bootstrap.params import BootstrapParams, Json
from meshwright.sidecar.bootstrap.trials import trial_listeners

_FILTERS = "type.googleapis.com/envoy.extensions.filters"


def static_listeners(params: BootstrapParams) -> list[Json]:
    """All listeners of the bootstrap."""
    return [_ready(params), *_spans(params), *trial_listeners(params)]


def _ready(params: BootstrapParams) -> Json:
    """Serves `/ready` and the metrics of Envoy, agent and app, and nothing else of the admin interface."""
    get = [{"name": ":method", "string_match": {"exact": "GET"}}]
    routes: list[Json] = [
        {"match": {"path": path, "headers": get}, "route": {"cluster": cluster_names.ADMIN}}
        for path in ("/ready", "/stats/prometheus")
    ]
    rewrites = []
    if params.agent_socket:
        rewrites.append(("/agent/metrics", cluster_names.AGENT, f"/metrics/{params.id}"))
    if params.app_metrics is not None:
        port, app_path = params.app_metrics
        rewrites.append(("/app/metrics", cluster_names.app_cluster(port), app_path))
    for path, cluster, rewritten in rewrites:
        route = {"cluster": cluster, "prefix_rewrite": rewritten, "timeout": "10s"}
        routes.append({"match": {"path": path, "headers": get}, "route": route})
    router = {"@type": f"{_FILTERS}.http.router.v3.Router"}
    connection_manager = {
        "@type": f"{_FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "ready",
        "route_config": {"virtual_hosts": [{"name": "ready", "domains": ["*"], "routes": routes}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
        "request_headers_timeout": "5s",
        "common_http_protocol_options": {"idle_timeout": "60s", "max_connection_duration": "600s"},
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": connection_manager}]
    return {
        "name": "ready",
        "address": socket_address(params.bind, params.ready_port),
        "enable_reuse_port": False,
        "filter_chains": [{"filters": filters}],
        "ignore_global_conn_limit": True,
    }


def _spans(params: BootstrapParams) -> list[Json]:
    """Takes the app's own spans on loopback, as gRPC without TLS, and forwards the bytes.

    A TCP proxy is enough: the cluster's TLS negotiates `h2`, so both ends speak HTTP/2.
    """
    if not params.spans_port or not params.tracing:
        return []
    proxy = {
        "@type": f"{_FILTERS}.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "otlp",
        "cluster": cluster_names.COLLECTOR,
    }
    return [
        {
            "name": "otlp",
            "address": socket_address("127.0.0.1", params.spans_port),
            "enable_reuse_port": False,
            "filter_chains": [
                {"filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}]}
            ],
        }
    ]
