"""The bootstrap's static clusters: control plane, collector, admin interface, agent and app."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from meshwright.control_plane.api import cluster_names, header_limits
from meshwright.control_plane.api.spiffe import CONTROL_PLANE_DNS, Identity
from meshwright.control_plane.api.state_dir import BUNDLE_FILE, IDENTITY_FILE
from meshwright.sidecar.bootstrap.params import AppCluster, BootstrapParams, Json

_TYPE = "type.googleapis.com/envoy"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

APP_IDLE_TIMEOUT = "4s"
"""Envoy closes idle connections to the app before the app does (uvicorn's keep-alive: 5 s; aiohttp's: 75 s).
A request sent on a connection that the app is closing would be lost."""

CONNECT_TIMEOUT = "5s"
"""How long connections to the control plane and a collector may take: Envoy's default. A busy machine needs
more than the second after which a lost SYN is sent again."""

_UNLIMITED = 1_000_000

_APP_CHECK = {
    "tcp_health_check": {},
    "interval": "2s",
    "no_traffic_interval": "2s",
    "timeout": "2s",
    "unhealthy_threshold": 2,
    "healthy_threshold": 1,
}
"""Whether the app listens, by connections without a byte. Its result is only exported, for the time when no
agent reports the app's health: with its single endpoint the cluster is in panic and goes on sending, so
callers get the app's own refusal. A tcp app has none: a database counts such connections as errors."""

_HEADER_LIMITS = {
    "max_headers_count": header_limits.MAX_HEADERS,
    "max_response_headers_kb": header_limits.MAX_KIB,
}

_APP_HTTP2 = {
    "override_stream_error_on_invalid_http_message": True,
    "max_concurrent_streams": 1024,
    "initial_stream_window_size": 1 << 20,
    "initial_connection_window_size": 1 << 30,
}
"""One connection carries the calls of all callers to a gRPC app. An invalid response costs its own stream.
Responses that nobody reads cannot use up the connection's window: it holds the windows of all streams."""


def socket_address(host: str, port: int) -> Json:
    """Envoy's address of a TCP socket."""
    return {"socket_address": {"address": host, "port_value": port}}


def static_clusters(params: BootstrapParams) -> list[Json]:
    """All clusters of the bootstrap."""
    return [
        _control_plane(params, cluster_names.XDS, params.xds),
        _cluster(cluster_names.ADMIN, {"pipe": {"path": params.admin_socket}}),
        *_agent(params),
        *_telemetry(params),
        *map(_app, params.apps),
    ]


def _cluster(name: str, address: Json, **fields: Any) -> Json:
    endpoint = {"lb_endpoints": [{"endpoint": {"address": address}}]}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": CONNECT_TIMEOUT,
        "load_assignment": {"cluster_name": name, "endpoints": [endpoint]},
        **fields,
    }


def _http2(**options: Any) -> Json:
    explicit = {"http2_protocol_options": options}
    return {_HTTP_OPTIONS: {"@type": f"{_TYPE}{_HTTP_OPTIONS[5:]}", "explicit_http_config": explicit}}


def _discovery(host: str) -> Json:
    """How the host is found. As everywhere in the mesh IPv4 is preferred: `localhost` is both."""
    try:
        ip_address(host)
    except ValueError:
        return {"type": "STRICT_DNS", "dns_lookup_family": "V4_PREFERRED"}
    return {"type": "STATIC"}


def _secret(name: str, path: str) -> Json:
    source = {"resource_api_version": "V3", "path_config_source": {"path": path}}
    return {"name": name, "sds_config": source}


def _control_plane(params: BootstrapParams, name: str, address: tuple[str, int]) -> Json:
    """A cluster of the control plane over mTLS, verified by its SPIFFE ID."""
    spiffe_id = Identity(params.trust_domain, "control-plane").uri
    validation = {
        "default_validation_context": {
            "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": spiffe_id}}]
        },
        "validation_context_sds_secret_config": _secret("bundle", BUNDLE_FILE),
    }
    # A minimum alone fails every handshake of a client, so both ends of the range are set.
    tls13 = {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"}
    common = {
        "tls_params": tls13,
        "alpn_protocols": ["h2"],
        "tls_certificate_sds_secret_configs": [_secret("identity", IDENTITY_FILE)],
        "combined_validation_context": validation,
    }
    context = {
        "@type": f"{_TYPE}.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "sni": CONTROL_PLANE_DNS,
        "common_tls_context": common,
    }
    return _cluster(
        name,
        socket_address(*address),
        **_discovery(address[0]),
        typed_extension_protocol_options=_http2(connection_keepalive={"interval": "30s", "timeout": "10s"}),
        transport_socket={"name": "envoy.transport_sockets.tls", "typed_config": context},
    )


def _agent(params: BootstrapParams) -> list[Json]:
    """Without limits: a check of each instance may be held there (see api.trials)."""
    address = {"pipe": {"path": params.agent_socket}}
    limits = {"max_connections": _UNLIMITED, "max_pending_requests": _UNLIMITED, "max_requests": _UNLIMITED}
    agent = _cluster(cluster_names.AGENT, address, circuit_breakers={"thresholds": [limits]})
    return [agent] if params.agent_socket else []


def _telemetry(params: BootstrapParams) -> list[Json]:
    """The destinations of metrics and of spans. A collector takes spans without TLS."""
    clusters = [_control_plane(params, cluster_names.TELEMETRY, params.otlp)] if params.otlp else []
    if params.collector is not None:
        clusters.append(
            _cluster(
                cluster_names.COLLECTOR,
                socket_address(*params.collector),
                **_discovery(params.collector[0]),
                typed_extension_protocol_options=_http2(),
            )
        )
    elif params.otlp is not None:
        clusters.append(_control_plane(params, cluster_names.COLLECTOR, params.otlp))
    return clusters


def _app(app: AppCluster) -> Json:
    cluster = _cluster(cluster_names.app_cluster(app.name), socket_address(app.address, app.port))
    cluster["connect_timeout"] = f"{app.connect_timeout:.3f}s"
    # The app has its own limits. Envoy's default of 1024 concurrent requests would reject before them.
    limits = {
        "max_connections": _UNLIMITED,
        "max_pending_requests": _UNLIMITED,
        "max_requests": _UNLIMITED,
        "max_retries": _UNLIMITED,
    }
    cluster["circuit_breakers"] = {"thresholds": [limits]}
    if app.protocol != "tcp":
        cluster["health_checks"] = [_APP_CHECK]
    if app.protocol == "grpc":
        cluster["typed_extension_protocol_options"] = _http2(**_APP_HTTP2)
    elif app.protocol == "http":
        cluster["typed_extension_protocol_options"] = {
            _HTTP_OPTIONS: {
                "@type": f"{_TYPE}{_HTTP_OPTIONS[5:]}",
                "common_http_protocol_options": {"idle_timeout": APP_IDLE_TIMEOUT, **_HEADER_LIMITS},
                "explicit_http_config": {"http_protocol_options": {"enable_trailers": True}},
            }
        }
    return cluster
