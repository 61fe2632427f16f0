"""The contents of a bootstrap."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.api.spiffe import valid_name
from meshwright.sidecar.bootstrap import AppCluster, BootstrapParams, build_bootstrap, envoy_command
from meshwright.sidecar.bootstrap.telemetry import EXPORTED_STATS, INCLUDED_STATS

ORDERS = BootstrapParams(
    id="orders-1",
    cluster="orders",
    trust_domain="mesh.local",
    xds=("127.0.0.1", 15012),
    admin_socket="/state/admin.sock",
    bind="127.0.0.1",
    ready_port=15020,
    outbound_port=15001,
    inbound_port=15006,
    apps=(
        AppCluster("http", "http", 7001, 120),
        AppCluster("rpc", "grpc", 7002, 120),
        AppCluster("raw", "tcp", 7003, 0.5),
    ),
)
WITH_TELEMETRY = replace(ORDERS, otlp=("127.0.0.1", 4317), spans_port=15017)
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def static_clusters(params: BootstrapParams) -> dict[str, dict[str, Any]]:
    clusters = build_bootstrap(params)["static_resources"]["clusters"]
    return {cluster["name"]: cluster for cluster in clusters}


def static_listeners(params: BootstrapParams) -> dict[str, dict[str, Any]]:
    listeners = build_bootstrap(params)["static_resources"]["listeners"]
    return {listener["name"]: listener for listener in listeners}


def test_node_has_its_name_and_ports() -> None:
    assert build_bootstrap(ORDERS)["node"] == {
        "id": "orders-1",
        "cluster": "orders",
        "metadata": {"bindings": {"address": "127.0.0.1", "outbound": 15001, "inbound": 15006}},
    }
    gateway = replace(ORDERS, gateway_ports=(("http", 8080),), apps=())
    bindings = build_bootstrap(gateway)["node"]["metadata"]["bindings"]
    assert bindings == {"address": "127.0.0.1", "gateway": {"http": 8080}, "inbound": 15006}


def test_node_has_a_locality_if_the_zone_is_known() -> None:
    assert "locality" not in build_bootstrap(ORDERS)["node"]
    assert build_bootstrap(replace(ORDERS, zone="east"))["node"]["locality"] == {"zone": "east"}


def test_regular_expressions_may_exceed_envoys_default_size() -> None:
    layer, _ = build_bootstrap(ORDERS)["layered_runtime"]["layers"]
    assert layer["static_layer"]["re2.max_program_size.error_level"] == 10_000


def test_only_a_gateway_guards_against_premature_resets() -> None:
    key = "overload.premature_reset_total_stream_count"
    gateway = replace(ORDERS, gateway_ports=(("http", 8080),))
    sidecar_layer, gateway_layer = (
        build_bootstrap(params)["layered_runtime"]["layers"][0]["static_layer"]
        for params in (ORDERS, gateway)
    )
    assert sidecar_layer[key] == 10**9
    assert key not in gateway_layer


def test_admin_runtime_layer_overrides_the_static_one() -> None:
    layers = build_bootstrap(ORDERS)["layered_runtime"]["layers"]
    assert layers[-1] == {"name": "admin", "admin_layer": {}}


def test_a_grpc_app_has_a_window_for_all_of_its_streams() -> None:
    options = static_clusters(ORDERS)["/app/rpc"]["typed_extension_protocol_options"][HTTP_OPTIONS]
    http2 = options["explicit_http_config"]["http2_protocol_options"]
    streams = http2["max_concurrent_streams"] * http2["initial_stream_window_size"]
    assert http2["initial_connection_window_size"] >= streams
    assert http2["override_stream_error_on_invalid_http_message"] is True


def test_each_app_port_is_a_loopback_cluster_with_its_protocol() -> None:
    clusters = static_clusters(ORDERS)
    assert list(clusters) == ["/xds", "/admin", "/app/http", "/app/rpc", "/app/raw"]
    options = {
        name: cluster.get("typed_extension_protocol_options", {}).get(HTTP_OPTIONS)
        for name, cluster in clusters.items()
    }
    assert "http_protocol_options" in options["/app/http"]["explicit_http_config"]
    assert "http2_protocol_options" in options["/app/rpc"]["explicit_http_config"]
    assert options["/app/raw"] is None
    endpoint = clusters["/app/rpc"]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    assert endpoint["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 7002}


def test_names_of_static_clusters_are_not_valid_service_names() -> None:
    names = static_clusters(WITH_TELEMETRY)
    assert len(names) == 7
    assert [name for name in names if valid_name(name.partition("/")[0])] == []


@pytest.mark.parametrize("name", ["/xds", "/telemetry", "/otlp"])
def test_control_plane_is_verified_by_its_spiffe_id(name: str) -> None:
    cluster = static_clusters(WITH_TELEMETRY)[name]
    context = cluster["transport_socket"]["typed_config"]["common_tls_context"]
    validation = context["combined_validation_context"]
    assert validation["default_validation_context"]["match_typed_subject_alt_names"] == [
        {"san_type": "URI", "matcher": {"exact": "spiffe://mesh.local/control-plane"}}
    ]
    paths = [
        secret["sds_config"]["path_config_source"]["path"]
        for secret in (
            *context["tls_certificate_sds_secret_configs"],
            validation["validation_context_sds_secret_config"],
        )
    ]
    assert paths == ["./identity.json", "./bundle.json"]


def test_control_plane_given_by_host_name_is_resolved() -> None:
    assert static_clusters(ORDERS)["/xds"]["type"] == "STATIC"
    by_name = replace(ORDERS, xds=("control-plane.example", 15012))
    cluster = static_clusters(by_name)["/xds"]
    assert (cluster["type"], cluster["dns_lookup_family"]) == ("STRICT_DNS", "V4_PREFERRED")


def test_telemetry_is_exported_only_to_a_control_plane_that_takes_it() -> None:
    assert "stats_sinks" not in build_bootstrap(ORDERS)
    assert "tracing" not in build_bootstrap(ORDERS)["node"]["metadata"]["bindings"]
    bootstrap = build_bootstrap(WITH_TELEMETRY)
    bindings = bootstrap["node"]["metadata"]["bindings"]
    assert (bindings["tracing"], bindings["spanLog"]) == (True, True)
    (sink,) = bootstrap["stats_sinks"]
    config = sink["typed_config"]
    assert config["grpc_service"]["envoy_grpc"] == {"cluster_name": "/telemetry"}
    attributes = config["resource_detectors"][0]["typed_config"]["attributes"]
    assert attributes == {"service.name": "orders", "service.instance.id": "orders-1"}


def test_collector_takes_spans_but_not_metrics() -> None:
    params = replace(WITH_TELEMETRY, collector=("collector.example", 4317))
    clusters = static_clusters(params)
    assert "transport_socket" not in clusters["/otlp"]
    assert clusters["/otlp"]["type"] == "STRICT_DNS"
    assert "transport_socket" in clusters["/telemetry"]
    assert "stats_sinks" not in build_bootstrap(replace(params, otlp=None))


def test_spans_listener_binds_loopback_and_needs_a_destination() -> None:
    listeners = static_listeners(replace(WITH_TELEMETRY, bind="0.0.0.0"))
    assert listeners["otlp"]["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 15017}
    assert list(static_listeners(replace(ORDERS, spans_port=15017))) == ["ready"]


@pytest.mark.parametrize(
    ("name", "exported"),
    [
        ("cluster.orders.upstream_rq_completed", True),
        ("cluster.orders/v2.upstream_rq_5xx", True),
        ("cluster.orders_grpc.grpc.14", True),
        ("cluster.db.upstream_cx_active", True),
        ("http.inbound.downstream_rq_5xx", True),
        ("cluster./app/http.upstream_rq_completed", False),
        ("cluster./app/http.membership_healthy", True),
        ("cluster./app/http.membership_total", False),
        ("cluster.orders.external.upstream_rq_completed", False),
        ("cluster.orders.upstream_rq_503", False),
        ("http.ready.downstream_rq_2xx", False),
    ],
)
def test_exported_stats_are_included_and_about_services(name: str, exported: bool) -> None:
    assert bool(re.fullmatch(EXPORTED_STATS, name)) is exported
    if exported:
        regexes = [pattern["safe_regex"] for pattern in INCLUDED_STATS if "safe_regex" in pattern]
        patterns = [regex["regex"] for regex in regexes if isinstance(regex, dict)]
        assert any(re.fullmatch(pattern, name) for pattern in patterns)


def test_envoy_waits_for_its_first_configuration_and_reconnects_soon() -> None:
    dynamic = build_bootstrap(ORDERS)["dynamic_resources"]
    assert dynamic["lds_config"]["initial_fetch_timeout"] == "0s"
    assert dynamic["cds_config"]["initial_fetch_timeout"] == "0s"
    retry = dynamic["ads_config"]["grpc_services"][0]["envoy_grpc"]["retry_policy"]["retry_back_off"]
    assert retry == {"base_interval": "0.2s", "max_interval": "1s"}


def test_bootstrap_has_no_secret_and_equal_inputs_give_equal_bytes() -> None:
    text = json.dumps(build_bootstrap(ORDERS))
    assert "PRIVATE KEY" not in text
    assert text == json.dumps(build_bootstrap(ORDERS))


def test_connections_to_the_app_wait_as_long_as_linux_would() -> None:
    clusters = {item["name"]: item for item in build_bootstrap(ORDERS)["static_resources"]["clusters"]}
    timeouts = [clusters[cluster_names.app_cluster(name)]["connect_timeout"] for name in ("http", "raw")]
    assert timeouts == ["120.000s", "0.500s"]


def test_envoy_looks_whether_an_app_listens_except_for_tcp() -> None:
    clusters = {item["name"]: item for item in build_bootstrap(ORDERS)["static_resources"]["clusters"]}
    checked = {name for name, cluster in clusters.items() if "health_checks" in cluster}
    assert checked == {cluster_names.app_cluster("http"), cluster_names.app_cluster("rpc")}


def test_envoy_chooses_the_number_of_workers_unless_it_is_set() -> None:
    assert "--concurrency" not in envoy_command("/bin/envoy", "./bootstrap.json", 0)
    argv = envoy_command("/bin/envoy", "./bootstrap.json", 4)
    assert argv[argv.index("--concurrency") + 1] == "4"


def test_command_line_has_one_worker_and_no_shared_memory() -> None:
    argv = envoy_command("/bin/envoy", "./bootstrap.json")
    assert argv[:3] == ("/bin/envoy", "-c", "./bootstrap.json")
    assert argv[argv.index("--concurrency") + 1] == "1"
    assert "--disable-hot-restart" in argv


def test_envoy_logs_warnings_but_those_about_its_own_api() -> None:
    argv = envoy_command("/bin/envoy", "./bootstrap.json")
    assert argv[argv.index("--log-level") + 1] == "warning"
    assert argv[argv.index("--component-log-level") + 1] == "misc:error"
