"""Envoy's bootstrap: what a sidecar must know before it can ask the control plane for the rest.

Emitted as plain dicts for JSON, as Envoy's documentation writes them. Everything that differs between the
nodes of a service is here, so that what the control plane sends them can be the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Literal

from control_plane.api import clusters
from control_plane.api.spiffe import CONTROL_PLANE_DNS, Identity
from control_plane.api.state import BUNDLE_FILE, IDENTITY_FILE

Json = dict[str, Any]

_TYPE = "type.googleapis.com/envoy"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_V3 = "V3"

APP_IDLE = "4s"
"""Idle connections to the app are closed before the app closes them (uvicorn's keep-alive: 5 s; aiohttp's:
75 s): a request sent into a closing connection would be lost."""

MAX_DOWNSTREAM_CONNECTIONS = 20_000
"""Connections one sidecar accepts before it refuses more, rather than run out of files."""

REGEX_PROGRAM_SIZE = 10_000
"""Instructions of a compiled regular expression at most; Envoy's own limit is 100, which `/a{200}` exceeds.

Any single repetition of a character or class stays below (`.{1,1000}` has 3,003, `\\pL{1,1000}` 8,003). What
is above nests them. The limit bounds a match's cost: RE2 may need time proportional to text times program."""

KEPT_STATS = (
    {"prefix": "server."},
    {"prefix": "listener_manager."},
    {"prefix": "cluster_manager."},
    {"prefix": "control_plane."},
    {"prefix": "sds."},
    {"safe_regex": {"regex": r"(http|listener|tcp)\..*(_rq_|_cx_|rbac|fail|no_certificate|rds|flow).*"}},
    {
        "safe_regex": {
            "regex": r"cluster\..*\.(upstream_rq_.*|upstream_cx_(active|total|overflow|connect_fail"
            r"|connect_timeout|destroy_remote.*|destroy_local.*|rx_bytes_total|tx_bytes_total)|membership_.*|circuit_breakers.*"
            r"|outlier_detection\..*|health_check\..*|retry_.*|ssl\..*|update_.*|lb_healthy_panic)"
        }
    },
)
"""Statistics worth their cost; the rest of Envoy's (some 12 KB of text a cluster) are not kept at all."""


@dataclass(frozen=True, slots=True)
class AppCluster:
    """Where the app listens for one of the service's ports, on loopback."""

    name: str
    protocol: Literal["http", "grpc", "tcp"]
    port: int


@dataclass(frozen=True, slots=True)
class Node:
    """All that a bootstrap depends on. `cluster` is the service's or gateway's name; ports are real ones.

    `gateway` maps listener names to ports and is None for the sidecar of a service, whose `outbound` and
    `inbound` are then set. `zone` is where it runs, empty when that is not known.
    `collector` takes spans by OTLP/gRPC; None: nothing is traced.
    `upstreams` are TCP services and the `ip:port` at which the app finds them.
    """

    id: str
    cluster: str
    trust_domain: str
    xds: tuple[str, int]
    admin_socket: str
    bind: str
    ready: int
    outbound: int = 0
    inbound: int = 0
    gateway: tuple[tuple[str, int], ...] | None = None
    apps: tuple[AppCluster, ...] = ()
    zone: str = ""
    collector: tuple[str, int] | None = None
    upstreams: tuple[tuple[str, str], ...] = ()


def bootstrap(node: Node) -> Json:
    """The whole bootstrap of one sidecar or gateway."""
    return {
        "node": _node(node),
        "admin": {"address": {"pipe": {"path": node.admin_socket, "mode": 0o600}}},
        "dynamic_resources": _dynamic(),
        "static_resources": {
            "listeners": [_ready_listener(node)],
            "clusters": [_xds(node), _admin(node), *_collector(node), *map(_app, node.apps)],
        },
        "stats_config": {"stats_matcher": {"inclusion_list": {"patterns": list(KEPT_STATS)}}},
        "overload_manager": _overload(),
        "layered_runtime": _runtime(),
        "bootstrap_extensions": [_internal_listeners()],
    }


def _node(node: Node) -> Json:
    named: Json = {"id": node.id, "cluster": node.cluster, "metadata": {"bindings": _bindings(node)}}
    return {**named, "locality": {"zone": node.zone}} if node.zone else named


def _runtime() -> Json:
    settings = {"re2.max_program_size.error_level": REGEX_PROGRAM_SIZE}
    return {"layers": [{"name": "mesh", "static_layer": settings}]}


def _internal_listeners() -> Json:
    """What lets CONNECT end at a listener inside the same process."""
    kind = f"{_TYPE}.extensions.bootstrap.internal_listener.v3.InternalListener"
    return {"name": "envoy.bootstrap.internal_listener", "typed_config": {"@type": kind}}


def _bindings(node: Node) -> Json:
    common: Json = {"address": node.bind, **({"traced": True} if node.collector else {})}
    if node.gateway is not None:
        return {**common, "gateway": dict(node.gateway)}
    bindings: Json = {**common, "outbound": node.outbound, "inbound": node.inbound}
    return {**bindings, "upstreams": dict(node.upstreams)} if node.upstreams else bindings


def _dynamic() -> Json:
    # Without the short back-off a sidecar takes 8 s to find a control plane that came back. Without the
    # timeout of 0 a sidecar that starts while it is away would go live with nothing.
    back_off = {"base_interval": "0.2s", "max_interval": "1s"}
    ads: Json = {"ads": {}, "resource_api_version": _V3, "initial_fetch_timeout": "0s"}
    return {
        "ads_config": {
            "api_type": "DELTA_GRPC",
            "transport_api_version": _V3,
            "set_node_on_first_message_only": True,
            "grpc_services": [
                {"envoy_grpc": {"cluster_name": clusters.XDS, "retry_policy": {"retry_back_off": back_off}}}
            ],
        },
        "lds_config": ads,
        "cds_config": ads,
    }


def _secret(name: str, path: str) -> Json:
    source = {"resource_api_version": _V3, "path_config_source": {"path": path}}
    return {"name": name, "sds_config": source}


def _endpoint(address: Json) -> Json:
    return {"lb_endpoints": [{"endpoint": {"address": address}}]}


def _socket(host: str, port: int) -> Json:
    return {"socket_address": {"address": host, "port_value": port}}


def _cluster(name: str, address: Json, **more: Any) -> Json:
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [_endpoint(address)]},
        **more,
    }


def _http2(**options: Any) -> Json:
    explicit = {"http2_protocol_options": options}
    return {_HTTP_OPTIONS: {"@type": f"{_TYPE}{_HTTP_OPTIONS[5:]}", "explicit_http_config": explicit}}


def _literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _xds(node: Node) -> Json:
    host, port = node.xds
    pinned = {"san_type": "URI", "matcher": {"exact": Identity(node.trust_domain, "control-plane").uri}}
    validation = {
        "default_validation_context": {"match_typed_subject_alt_names": [pinned]},
        "validation_context_sds_secret_config": _secret("bundle", BUNDLE_FILE),
    }
    # Minimum alone fails every handshake of a client: both ends of the range are set.
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
        clusters.XDS,
        _socket(host, port),
        type="STATIC" if _literal(host) else "STRICT_DNS",
        typed_extension_protocol_options=_http2(connection_keepalive={"interval": "30s", "timeout": "10s"}),
        transport_socket={"name": "envoy.transport_sockets.tls", "typed_config": context},
    )


def _admin(node: Node) -> Json:
    return _cluster(clusters.ADMIN, {"pipe": {"path": node.admin_socket}})


def _collector(node: Node) -> list[Json]:
    """Where spans go; in the clear, as collectors beside their users are."""
    if node.collector is None:
        return []
    host, port = node.collector
    kind = "STATIC" if _literal(host) else "STRICT_DNS"
    options = _http2()
    return [
        _cluster(clusters.COLLECTOR, _socket(host, port), type=kind, typed_extension_protocol_options=options)
    ]


def _app(app: AppCluster) -> Json:
    cluster = _cluster(clusters.app(app.name), _socket("127.0.0.1", app.port))
    # The app's own limits decide: Envoy's default of 1024 at once would refuse in its stead.
    most = 1_000_000
    limits = {
        "max_connections": most,
        "max_pending_requests": most,
        "max_requests": most,
        "max_retries": most,
    }
    cluster["circuit_breakers"] = {"thresholds": [limits]}
    if app.protocol == "grpc":
        cluster["typed_extension_protocol_options"] = _http2()
    elif app.protocol == "http":
        cluster["typed_extension_protocol_options"] = {
            _HTTP_OPTIONS: {
                "@type": f"{_TYPE}{_HTTP_OPTIONS[5:]}",
                "common_http_protocol_options": {"idle_timeout": APP_IDLE},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        }
    return cluster


def _ready_listener(node: Node) -> Json:
    """`/ready` and `/stats/prometheus` for who has no access to the admin socket, and nothing else."""
    get = [{"name": ":method", "string_match": {"exact": "GET"}}]
    routes = [
        {"match": {"path": path, "headers": get}, "route": {"cluster": clusters.ADMIN}}
        for path in ("/ready", "/stats/prometheus")
    ]
    router = {"@type": f"{_TYPE}.extensions.filters.http.router.v3.Router"}
    manager = {
        "@type": f"{_TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "ready",
        "route_config": {"virtual_hosts": [{"name": "ready", "domains": ["*"], "routes": routes}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
        "request_headers_timeout": "5s",
        "common_http_protocol_options": {"idle_timeout": "60s", "max_connection_duration": "600s"},
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return {
        "name": "ready",
        "address": _socket(node.bind, node.ready),
        "enable_reuse_port": False,
        "filter_chains": [{"filters": filters}],
        "ignore_global_conn_limit": True,
    }


def _overload() -> Json:
    package = f"{_TYPE}.extensions.resource_monitors.downstream_connections.v3"
    config = {
        "@type": f"{package}.DownstreamConnectionsConfig",
        "max_active_downstream_connections": MAX_DOWNSTREAM_CONNECTIONS,
    }
    name = "envoy.resource_monitors.global_downstream_max_connections"
    return {"resource_monitors": [{"name": name, "typed_config": config}]}


def command(envoy: str, bootstrap_file: str) -> tuple[str, ...]:
    """Envoy's command line.

    One worker is right for a sidecar (measured: two gave no more, and a worse p99). A drain begins at once
    but lets what is under way take its time (Envoy's own 600 s), so that a long stream survives a changed
    listener.
    """
    quiet = ("--log-level", "warning", "--disable-hot-restart")
    flush = ("--file-flush-interval-msec", "1000")  # its default keeps log lines back for 10 s
    work = ("--concurrency", "1", "--drain-strategy", "immediate")
    return (envoy, "-c", bootstrap_file, *work, *flush, *quiet)
