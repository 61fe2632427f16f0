"""Envoy's bootstrap: what a sidecar must know before it can ask the control plane for the rest.

Emitted as plain dicts for JSON, as Envoy's documentation writes them. Everything that differs between the
nodes of a service is here, so that what the control plane sends them can be the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Literal

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.api.spiffe import CONTROL_PLANE_DNS, Identity
from meshwright.control_plane.api.state_dir import BUNDLE_FILE, IDENTITY_FILE
from meshwright.sidecar import telemetry

Json = dict[str, Any]

_TYPE = "type.googleapis.com/envoy"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_V3 = "V3"

APP_IDLE_TIMEOUT = "4s"
"""Idle connections to the app are closed before the app closes them (uvicorn's keep-alive: 5 s; aiohttp's:
75 s): a request sent into a closing connection would be lost."""

MAX_DOWNSTREAM_CONNECTIONS = 20_000
"""Connections one sidecar accepts before it refuses more, rather than run out of files."""

MAX_REGEX_PROGRAM_SIZE = 10_000
"""Instructions of a compiled regular expression at most; Envoy's own limit is 100, which `/a{200}` exceeds.

Any single repetition of a character or class stays below (`.{1,1000}` has 3,003, `\\pL{1,1000}` 8,003). What
is above nests them. The limit bounds a match's cost: RE2 may need time proportional to text times program."""


@dataclass(frozen=True, slots=True)
class AppCluster:
    """Where the app listens for one of the service's ports, on loopback."""

    name: str
    protocol: Literal["http", "grpc", "tcp"]
    port: int


@dataclass(frozen=True, slots=True)
class BootstrapParams:
    """All that a bootstrap depends on. `cluster` is the service's or gateway's name; ports are real ones.

    `gateway` maps listener names to ports and is None for the sidecar of a service, whose `outbound` and
    `inbound` are then set. `zone` is where it runs, empty when that is not known.
    `otlp` is where the control plane takes metrics and spans; None: it takes none. `collector` takes spans
    in its stead, in the clear. Without both nothing is traced. `spans` is the port at which the app's own
    spans are taken, on loopback; 0: at none.
    `upstreams` are TCP services and the `ip:port` at which the app finds them. `agent_socket` is where the
    agent has metrics of this node, `metrics` the name of the app's port and the path of the app's own.
    """

    id: str
    cluster: str
    trust_domain: str
    xds: tuple[str, int]
    admin_socket: str
    bind: str
    ready_port: int
    outbound_port: int = 0
    inbound_port: int = 0
    gateway_ports: tuple[tuple[str, int], ...] | None = None
    apps: tuple[AppCluster, ...] = ()
    zone: str = ""
    otlp: tuple[str, int] | None = None
    collector: tuple[str, int] | None = None
    spans_port: int = 0
    upstreams: tuple[tuple[str, str], ...] = ()
    agent_socket: str = ""
    app_metrics: tuple[str, str] | None = None

    @property
    def tracing(self) -> bool:
        """Whether there is somebody to send spans to."""
        return bool(self.otlp or self.collector)


def build_bootstrap(node: BootstrapParams) -> Json:
    """The whole bootstrap of one sidecar or gateway."""
    return {
        "node": _node(node),
        "admin": {"address": {"pipe": {"path": node.admin_socket, "mode": 0o600}}},
        "dynamic_resources": _dynamic(),
        "static_resources": {
            "listeners": [_ready_listener(node), *_spans_listener(node)],
            "clusters": [_xds(node), _admin(node), *_agent(node), *_telemetry(node), *map(_app, node.apps)],
        },
        "stats_config": telemetry.stats_config(),
        **(telemetry.stats_sink(node.cluster, node.id) if node.otlp else {}),
        "overload_manager": _overload(),
        "layered_runtime": _runtime(),
        "bootstrap_extensions": [_internal_listeners()],
    }


def _node(node: BootstrapParams) -> Json:
    named: Json = {"id": node.id, "cluster": node.cluster, "metadata": {"bindings": _bindings(node)}}
    return {**named, "locality": {"zone": node.zone}} if node.zone else named


def _runtime() -> Json:
    settings = {"re2.max_program_size.error_level": MAX_REGEX_PROGRAM_SIZE, **telemetry.runtime_settings()}
    # The second layer is what the agent sets for a while by the admin socket, such as `mesh.tap`.
    return {"layers": [{"name": "mesh", "static_layer": settings}, {"name": "admin", "admin_layer": {}}]}


def _internal_listeners() -> Json:
    """What lets CONNECT end at a listener inside the same process."""
    kind = f"{_TYPE}.extensions.bootstrap.internal_listener.v3.InternalListener"
    return {"name": "envoy.bootstrap.internal_listener", "typed_config": {"@type": kind}}


def _bindings(node: BootstrapParams) -> Json:
    common: Json = {
        "address": node.bind,
        **({"tracing": True} if node.tracing else {}),
        **({"requestLog": True} if node.otlp else {}),
    }
    if node.gateway_ports is not None:
        return {**common, "gateway": dict(node.gateway_ports)}
    bindings: Json = {**common, "outbound": node.outbound_port, "inbound": node.inbound_port}
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
                {
                    "envoy_grpc": {
                        "cluster_name": cluster_names.XDS,
                        "retry_policy": {"retry_back_off": back_off},
                    }
                }
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


def _control_plane(node: BootstrapParams, name: str, at: tuple[str, int]) -> Json:
    """A cluster of the control plane, which is believed by its identity only."""
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
        name,
        _socket(*at),
        type="STATIC" if _literal(at[0]) else "STRICT_DNS",
        typed_extension_protocol_options=_http2(connection_keepalive={"interval": "30s", "timeout": "10s"}),
        transport_socket={"name": "envoy.transport_sockets.tls", "typed_config": context},
    )


def _xds(node: BootstrapParams) -> Json:
    return _control_plane(node, cluster_names.XDS, node.xds)


def _admin(node: BootstrapParams) -> Json:
    return _cluster(cluster_names.ADMIN, {"pipe": {"path": node.admin_socket}})


def _agent(node: BootstrapParams) -> list[Json]:
    at = {"pipe": {"path": node.agent_socket}}
    return [_cluster(cluster_names.AGENT, at)] if node.agent_socket else []


def _telemetry(node: BootstrapParams) -> list[Json]:
    """Where metrics go, and where spans do: a collector takes those in the clear."""
    found = [_control_plane(node, cluster_names.TELEMETRY, node.otlp)] if node.otlp else []
    if node.collector is not None:
        kind = "STATIC" if _literal(node.collector[0]) else "STRICT_DNS"
        at = _socket(*node.collector)
        found.append(
            _cluster(cluster_names.COLLECTOR, at, type=kind, typed_extension_protocol_options=_http2())
        )
    elif node.otlp is not None:
        found.append(_control_plane(node, cluster_names.COLLECTOR, node.otlp))
    return found


def _spans_listener(node: BootstrapParams) -> list[Json]:
    """Takes the app's own spans, as gRPC in the clear, and carries them as they are.

    Bytes are passed on, not requests: with `h2` agreed on by the cluster's TLS both ends speak HTTP/2.
    """
    if not node.spans_port or not node.tracing:
        return []
    proxy = {
        "@type": f"{_TYPE}.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "otlp",
        "cluster": cluster_names.COLLECTOR,
    }
    return [
        {
            "name": "otlp",
            "address": _socket("127.0.0.1", node.spans_port),
            "enable_reuse_port": False,
            "filter_chains": [
                {"filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}]}
            ],
        }
    ]


def _app(app: AppCluster) -> Json:
    cluster = _cluster(cluster_names.app_cluster(app.name), _socket("127.0.0.1", app.port))
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
                "common_http_protocol_options": {"idle_timeout": APP_IDLE_TIMEOUT},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        }
    return cluster


def _ready_listener(node: BootstrapParams) -> Json:
    """Readiness and metrics (Envoy's, the agent's, the app's) for who cannot reach their own places."""
    get = [{"name": ":method", "string_match": {"exact": "GET"}}]
    routes = [
        {"match": {"path": path, "headers": get}, "route": {"cluster": cluster_names.ADMIN}}
        for path in ("/ready", "/stats/prometheus")
    ]
    told = [("/agent/metrics", cluster_names.AGENT, f"/metrics/{node.id}")] if node.agent_socket else []
    if node.app_metrics is not None:
        port, theirs = node.app_metrics
        told.append(("/app/metrics", cluster_names.app_cluster(port), theirs))
    for path, cluster, rewritten in told:
        route = {"cluster": cluster, "prefix_rewrite": rewritten, "timeout": "10s"}
        routes.append({"match": {"path": path, "headers": get}, "route": route})
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
        "address": _socket(node.bind, node.ready_port),
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


def envoy_command(envoy: str, bootstrap_file: str) -> tuple[str, ...]:
    """Envoy's command line.

    One worker is right for a sidecar (measured: two gave no more, and a worse p99). A drain begins at once
    but lets what is under way take its time (Envoy's own 600 s), so that a long stream survives a changed
    listener.
    """
    quiet = ("--log-level", "warning", "--disable-hot-restart")
    flush = ("--file-flush-interval-msec", "1000")  # its default keeps log lines back for 10 s
    work = ("--concurrency", "1", "--drain-strategy", "immediate")
    return (envoy, "-c", bootstrap_file, *work, *flush, *quiet)
