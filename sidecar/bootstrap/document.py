"""Assembles the bootstrap of one sidecar or gateway, and Envoy's command line."""

from __future__ import annotations

from meshwright.control_plane.api import cluster_names
from meshwright.sidecar.bootstrap import telemetry
from meshwright.sidecar.bootstrap.clusters import static_clusters
from meshwright.sidecar.bootstrap.listeners import static_listeners
from meshwright.sidecar.bootstrap.params import BootstrapParams, Json

_TYPE = "type.googleapis.com/envoy"

MAX_DOWNSTREAM_CONNECTIONS = 20_000
"""Connections that one sidecar accepts. Beyond that it rejects new ones instead of running out of files."""

MAX_REGEX_PROGRAM_SIZE = 10_000
"""Maximum instructions of a compiled regular expression. Envoy's default is 100, which `/a{200}` exceeds.

Any single repetition of a character or class stays below (`.{1,1000}` has 3,003, `\\pL{1,1000}` 8,003);
nested repetitions exceed it. The limit bounds the cost of a match: RE2 may need time proportional to text
times program."""

UNLIMITED_RESETS = 10**9
"""Streams of a connection after which Envoy judges how many were reset early. It ends connections where half
were (default: after 500), and counts calls that timed out or were given up.

A sidecar serves its own app and, over mutual TLS, other sidecars, whose connections carry the calls of many.
A gateway serves strangers and keeps the default."""


def build_bootstrap(params: BootstrapParams) -> Json:
    """The complete bootstrap of one sidecar or gateway."""
    return {
        "node": _node(params),
        "admin": {"address": {"pipe": {"path": params.admin_socket, "mode": 0o600}}},
        "dynamic_resources": _dynamic_resources(),
        "static_resources": {
            "listeners": static_listeners(params),
            "clusters": static_clusters(params),
        },
        "stats_config": telemetry.stats_config(),
        **(telemetry.stats_sink(params.cluster, params.id) if params.otlp else {}),
        "overload_manager": _overload_manager(),
        "layered_runtime": _layered_runtime(gateway=params.gateway_ports is not None),
        "bootstrap_extensions": [_internal_listener()],
    }


def _node(params: BootstrapParams) -> Json:
    node: Json = {
        "id": params.id,
        "cluster": params.cluster,
        "metadata": {"bindings": _bindings(params)},
    }
    return {**node, "locality": {"zone": params.zone}} if params.zone else node


def _bindings(params: BootstrapParams) -> Json:
    """What the control plane must know to build this node's listeners."""
    bindings: Json = {
        "address": params.bind,
        **({"tracing": True} if params.tracing else {}),
        **({"requestLog": True} if params.otlp else {}),
        **({"spanLog": True} if params.otlp and params.collector is None else {}),
    }
    if params.gateway_ports is not None:
        bindings["gateway"] = dict(params.gateway_ports)
        bindings |= {"inbound": params.inbound_port} if params.inbound_port else {}
        bindings |= {"portOption": params.port_option} if params.port_option else {}
        return {**bindings, "edge": params.edge} if params.edge else bindings
    bindings |= {"outbound": params.outbound_port, "inbound": params.inbound_port}
    if params.secret_hash:
        bindings["secretHash"] = params.secret_hash
    if params.outside:
        bindings["outside"] = params.outside
    return {**bindings, "upstreams": dict(params.upstreams)} if params.upstreams else bindings


def _layered_runtime(*, gateway: bool) -> Json:
    settings = {
        "re2.max_program_size.error_level": MAX_REGEX_PROGRAM_SIZE,
        **({} if gateway else {"overload.premature_reset_total_stream_count": UNLIMITED_RESETS}),
        **telemetry.runtime_settings(),
    }
    # The agent sets keys of the admin layer, such as `mesh.tap`, for a limited time.
    return {"layers": [{"name": "mesh", "static_layer": settings}, {"name": "admin", "admin_layer": {}}]}


def _internal_listener() -> Json:
    """Lets CONNECT terminate at a listener inside the same process."""
    type_url = f"{_TYPE}.extensions.bootstrap.internal_listener.v3.InternalListener"
    return {"name": "envoy.bootstrap.internal_listener", "typed_config": {"@type": type_url}}


def _dynamic_resources() -> Json:
    # With Envoy's default back-off a sidecar needs 8 s to reconnect after an outage. Without the timeout of 0
    # a sidecar that starts during an outage would serve an empty configuration.
    back_off = {"base_interval": "0.2s", "max_interval": "1s"}
    ads: Json = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    envoy_grpc = {"cluster_name": cluster_names.XDS, "retry_policy": {"retry_back_off": back_off}}
    return {
        "ads_config": {
            "api_type": "DELTA_GRPC",
            "transport_api_version": "V3",
            "set_node_on_first_message_only": True,
            "grpc_services": [{"envoy_grpc": envoy_grpc}],
        },
        "lds_config": ads,
        "cds_config": ads,
    }


def _overload_manager() -> Json:
    package = f"{_TYPE}.extensions.resource_monitors.downstream_connections.v3"
    config = {
        "@type": f"{package}.DownstreamConnectionsConfig",
        "max_active_downstream_connections": MAX_DOWNSTREAM_CONNECTIONS,
    }
    name = "envoy.resource_monitors.global_downstream_max_connections"
    return {"resource_monitors": [{"name": name, "typed_config": config}]}


def envoy_command(
    envoy: str,
    bootstrap_file: str,
    concurrency: int = 1,
    hot_restart: tuple[str, ...] = ("--disable-hot-restart",),
) -> tuple[str, ...]:
    """Envoy's command line. `concurrency` is the number of worker threads.

    One is right for a sidecar: in a measurement two had the same throughput and a worse p99. 0 leaves it to
    Envoy, which uses all cores that its cgroup and affinity allow. A drain starts immediately but gives
    in-flight requests Envoy's default of 600 s, so that a long stream survives a changed listener.
    `hot_restart` are the options of sidecar.hot_restart.
    """
    # `misc` warns at each start that fields of the mesh's configuration are new or deprecated in Envoy's API
    logging = ("--log-level", "warning", "--component-log-level", "misc:error")
    flush = ("--file-flush-interval-msec", "1000")  # the default delays log lines by 10 s
    workers = ("--concurrency", str(concurrency)) if concurrency else ()
    drain = ("--drain-strategy", "immediate")
    return (envoy, "-c", bootstrap_file, *workers, *drain, *flush, *logging, *hot_restart)
