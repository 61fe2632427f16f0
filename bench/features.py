"""What a mesh adds to a minimal pair of Envoys, one feature at a time, and the transports that it could use.

The features come from the configuration that the control plane makes for a small mesh, so the benchmark
measures what ships. What needs xDS, routes and clusters on demand, is in none of them: it is part of what a
mesh costs beyond `all features`.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any, Literal

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.core import http2
from meshwright.control_plane.core.resource import CDS, LDS, RDS, VHDS
from meshwright.control_plane.core.snapshot import Bindings, NodeSnapshot
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.envoy import codec
from meshwright.sidecar.bootstrap import BootstrapParams, build_bootstrap
from meshwright.sidecar.proxy_credential import USER, ProxyCredential
from tests.control_plane.core.worlds import body, exchange

Json = dict[str, Any]
Side = Literal["client", "server"]
Change = Callable[[Side, Json], None]
"""Changes the bootstrap of one of the two Envoys in place."""

OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
ON_DEMAND, ROUTER = "envoy.filters.http.on_demand", "envoy.filters.http.router"
SECRET = "a secret of a caller"  # noqa: S105

GROUPS: Mapping[str, tuple[str, ...]] = {
    "tracer": ("tracing",),
    "access logs": ("access_log",),
    "path normalisation": ("normalize_path", "merge_slashes", "path_with_escaped_slashes_action"),
    "client certificate header": ("forward_client_cert_details", "set_current_client_cert_details"),
    "timeouts": ("request_headers_timeout", "stream_idle_timeout"),
    "check of traceparent": ("early_header_mutation_extensions",),
    "request IDs": ("request_id_extension", "always_set_request_id_in_response"),
    "reasons in local replies": ("local_reply_config",),
}
"""Fields of a connection manager that are one feature."""

NOT_FEATURES = ("@type", "stat_prefix", "rds", "http_filters", "http2_protocol_options")
CREDENTIAL_FILTERS = ("mesh.credential",)
FIRST_REQUEST_FILTERS = ("envoy.filters.http.basic_auth", "mesh.caller")
"""Filters of the outbound listener for the first request to a host of the mesh, which disables them."""


def credential(secret: str) -> str:
    """The header of a caller whose sidecar wants `secret`."""
    return f"Proxy-Authorization: Basic {b64encode(f'{USER}:{secret}'.encode()).decode()}"


def _manager(bootstrap: Json) -> Json:
    chain = bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]
    manager: Json = chain["filters"][0]["typed_config"]
    return manager


def _cluster(bootstrap: Json) -> Json:
    cluster: Json = bootstrap["static_resources"]["clusters"][0]
    return cluster


def _route(bootstrap: Json) -> Json:
    route: Json = _manager(bootstrap)["route_config"]["virtual_hosts"][0]["routes"][0]["route"]
    return route


# --- transports ----------------------------------------------------------------------------------


def transports() -> dict[str, Change]:
    """The transports between two sidecars that were compared; the mesh's own comes first."""
    isolated = codec.to_dict(http2.between_sidecars())
    return {
        "HTTP/2 isolated": _http2(isolated),
        "HTTP/2 isolated, oghttp2": _http2({**isolated, "use_oghttp2_codec": True}),
        "HTTP/2, Envoy's defaults": _http2({}),
        "HTTP/1.1": _http1(isolated),
    }


def _http2(options: Json) -> Change:
    def change(side: Side, bootstrap: Json) -> None:
        _manager(bootstrap)["http2_protocol_options"] = options
        if side == "client":
            explicit = _cluster(bootstrap)["typed_extension_protocol_options"][OPTIONS][
                "explicit_http_config"
            ]
            explicit["http2_protocol_options"] = options

    return change


def _http1(options: Json) -> Change:
    """HTTP/1.1 for HTTP/1 requests, HTTP/2 for the others."""

    def change(side: Side, bootstrap: Json) -> None:
        if side == "server":
            chain = bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]
            common = chain["transport_socket"]["typed_config"]["common_tls_context"]
            common["alpn_protocols"] = ["h2", "http/1.1"]
            return
        cluster = _cluster(bootstrap)
        protocols = cluster["typed_extension_protocol_options"][OPTIONS]
        del protocols["explicit_http_config"]
        protocols["use_downstream_protocol_config"] = {"http2_protocol_options": options}
        # Without a list of its own Envoy offers the protocol that it is about to speak.
        del cluster["transport_socket"]["typed_config"]["common_tls_context"]["alpn_protocols"]

    return change


# --- features ------------------------------------------------------------------------------------


def features(telemetry_port: int) -> dict[str, Change]:
    """All features by name, then all of them and all but some. Telemetry goes to the port of a receiver."""
    node = _product_node()
    managers: dict[Side, Json] = {
        "client": _product_manager(node, "outbound"),
        "server": _product_manager(node, "inbound"),
    }
    receiver = _receivers(telemetry_port)
    grouped = {field for fields in GROUPS.values() for field in fields}
    rest = tuple(
        field
        for field in {**managers["client"], **managers["server"]}
        if field not in {*grouped, *NOT_FEATURES}
    )
    single: dict[str, Change] = {
        name: _together(receiver, _fields(managers, fields)) for name, fields in GROUPS.items()
    }
    single["other settings of listeners"] = _fields(managers, rest)
    single["credential of callers"] = _filters(managers, CREDENTIAL_FILTERS)
    names = dict.fromkeys(entry["name"] for manager in managers.values() for entry in manager["http_filters"])
    for name in names:
        if name not in {ON_DEMAND, ROUTER, *CREDENTIAL_FILTERS, *FIRST_REQUEST_FILTERS}:
            single[f"filter {name.removeprefix('envoy.filters.http.')}"] = _filters(managers, (name,))
    single |= {
        "log of attempts": _together(receiver, _router(managers)),
        "routes": _routes(node),
        "route of probes": _probe_route(node),
        "clusters": _clusters(node),
        "statistics": _together(
            receiver, _from_bootstrap(("stats_config", "stats_sinks", "stats_flush_interval"))
        ),
        "runtime and overload manager": _from_bootstrap(("layered_runtime", "overload_manager")),
    }
    filters = [name for name in single if name.startswith("filter ")]
    left_out = {
        "all features": [],
        "all but the tracer": ["tracer"],
        "all but the access logs": ["access logs"],
        "all but the filters": [*filters, "credential of callers"],
    }
    combined = {
        title: _together(*(change for name, change in single.items() if name not in without))
        for title, without in left_out.items()
    }
    return {**single, **combined}


def _product_node() -> NodeSnapshot:
    """The configuration of a sidecar of a small mesh, with everything that a default mesh has."""
    snapshot = translate(exchange()).snapshot
    bindings = Bindings(
        outbound=1,
        inbound=2,
        tracing=True,
        request_log=True,
        span_log=True,
        secret_hash=ProxyCredential(SECRET).secret_hash,
    )
    return snapshot.node(Identity("mesh.local", "service", "orders"), bindings)


def _product_manager(node: NodeSnapshot, listener: str) -> Json:
    resource = node.get(LDS, listener)
    assert resource is not None, listener
    manager: Json = codec.to_dict(body(resource))["filter_chains"][0]["filters"][0]["typed_config"]
    # Filters whose configuration comes by xDS are not in a static pair.
    manager["http_filters"] = [entry for entry in manager["http_filters"] if "typed_config" in entry]
    for entry in manager["http_filters"]:
        if entry["name"] in CREDENTIAL_FILTERS:
            entry.pop("disabled", None)  # hosts of the mesh enable it
    return manager


def _together(*changes: Change) -> Change:
    def change(side: Side, bootstrap: Json) -> None:
        for single in changes:
            single(side, bootstrap)

    return change


def _fields(managers: Mapping[Side, Json], fields: tuple[str, ...]) -> Change:
    def change(side: Side, bootstrap: Json) -> None:
        product = managers[side]
        _manager(bootstrap).update({field: product[field] for field in fields if field in product})

    return change


def _filters(managers: Mapping[Side, Json], names: tuple[str, ...]) -> Change:
    def change(side: Side, bootstrap: Json) -> None:
        order = [entry["name"] for entry in managers[side]["http_filters"]]
        manager = _manager(bootstrap)
        added = [entry for entry in managers[side]["http_filters"] if entry["name"] in names]
        manager["http_filters"] = sorted(
            [*manager["http_filters"], *added], key=lambda entry: order.index(entry["name"])
        )

    return change


def _router(managers: Mapping[Side, Json]) -> Change:
    def change(side: Side, bootstrap: Json) -> None:
        (router,) = (entry for entry in managers[side]["http_filters"] if entry["name"] == ROUTER)
        filters = _manager(bootstrap)["http_filters"]
        filters[:] = [router if entry["name"] == ROUTER else entry for entry in filters]

    return change


def _receivers(port: int) -> Change:
    """The clusters to which telemetry is sent, in plaintext."""

    def change(_: Side, bootstrap: Json) -> None:
        clusters = bootstrap["static_resources"]["clusters"]
        if len(clusters) > 1:
            return
        address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
        for name in (cluster_names.TELEMETRY, cluster_names.COLLECTOR):
            endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
            options = {
                "@type": f"type.googleapis.com/{OPTIONS}",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
            clusters.append(
                {
                    "name": name,
                    "type": "STATIC",
                    "load_assignment": {"cluster_name": name, "endpoints": endpoints},
                    "typed_extension_protocol_options": {OPTIONS: options},
                }
            )

    return change


def _routes(node: NodeSnapshot) -> Change:
    """Retries, timeouts and headers, without what selects a cluster."""
    caller, callee = node.get(VHDS, "out/inventory"), node.get(RDS, "in")
    assert caller is not None
    assert callee is not None
    actions: dict[Side, Json] = {
        "client": _action(codec.to_dict(body(caller))),
        "server": _action(codec.to_dict(body(callee))["virtual_hosts"][0]),
    }

    def change(side: Side, bootstrap: Json) -> None:
        _route(bootstrap).update({key: value for key, value in actions[side].items() if key != "cluster"})

    return change


def _probe_route(node: NodeSnapshot) -> Change:
    """The route that answers probes of authorization, before the one to the app."""
    callee = node.get(RDS, "in")
    assert callee is not None
    routes = codec.to_dict(body(callee))["virtual_hosts"][0]["routes"]
    probe = next(route for route in routes if route["name"].endswith("-probe"))
    fields = ("name", "match", "metadata", "direct_response", "response_headers_to_add")

    def change(side: Side, bootstrap: Json) -> None:
        if side == "server":
            host = _manager(bootstrap)["route_config"]["virtual_hosts"][0]
            host["routes"].insert(0, {field: probe[field] for field in fields if field in probe})

    return change


def _action(host: Json) -> Json:
    """What a virtual host does with ordinary requests: the first route that matches by path alone."""
    action: Json = next(
        route["route"] for route in host["routes"] if route["match"] == {"prefix": "/"} and "route" in route
    )
    return action


def _clusters(node: NodeSnapshot) -> Change:
    resource = node.get(CDS, "inventory")
    assert resource is not None
    product = codec.to_dict(body(resource))
    fields = ("lb_policy", "common_lb_config", "circuit_breakers", "ignore_health_on_host_removal")

    def change(side: Side, bootstrap: Json) -> None:
        if side == "client":
            _cluster(bootstrap).update({field: product[field] for field in fields if field in product})

    return change


def _from_bootstrap(fields: tuple[str, ...]) -> Change:
    params = BootstrapParams(
        id="lean",
        cluster="lean",
        trust_domain="mesh.local",
        xds=("127.0.0.1", 1),
        admin_socket="unused",
        bind="127.0.0.1",
        ready_port=1,
        otlp=("127.0.0.1", 1),
    )
    product = build_bootstrap(params)

    def change(_: Side, bootstrap: Json) -> None:
        bootstrap.update({field: product[field] for field in fields if field in product})

    return change
