"""What an Envoy is told at its start."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from meshwright.control_plane.api.spiffe import valid_name
from meshwright.sidecar.bootstrap import AppCluster, BootstrapParams, build_bootstrap, envoy_command
from meshwright.sidecar.telemetry import EXPORTED_STATS, INCLUDED_STATS

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
    apps=(AppCluster("http", "http", 7001), AppCluster("rpc", "grpc", 7002), AppCluster("raw", "tcp", 7003)),
)
SEEN = replace(ORDERS, otlp=("127.0.0.1", 4317), spans_port=15017)
HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def clusters(node: BootstrapParams) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in build_bootstrap(node)["static_resources"]["clusters"]}


def test_the_node_names_itself_and_its_ports() -> None:
    assert build_bootstrap(ORDERS)["node"] == {
        "id": "orders-1",
        "cluster": "orders",
        "metadata": {"bindings": {"address": "127.0.0.1", "outbound": 15001, "inbound": 15006}},
    }
    gateway = replace(ORDERS, gateway_ports=(("http", 8080),), apps=())
    bindings = build_bootstrap(gateway)["node"]["metadata"]["bindings"]
    assert bindings == {"address": "127.0.0.1", "gateway": {"http": 8080}}


def test_the_zone_is_told_where_it_is_known() -> None:
    assert "locality" not in build_bootstrap(ORDERS)["node"]
    assert build_bootstrap(replace(ORDERS, zone="east"))["node"]["locality"] == {"zone": "east"}


def test_regular_expressions_may_be_larger_than_envoy_takes_by_itself() -> None:
    layer, _ = build_bootstrap(ORDERS)["layered_runtime"]["layers"]
    assert layer["static_layer"]["re2.max_program_size.error_level"] == 10_000


def test_the_agent_may_set_runtime_keys_above_the_fixed_ones() -> None:
    assert build_bootstrap(ORDERS)["layered_runtime"]["layers"][-1] == {"name": "admin", "admin_layer": {}}


def test_each_port_of_the_app_is_a_cluster_on_loopback_in_its_protocol() -> None:
    found = clusters(ORDERS)
    assert list(found) == ["/xds", "/admin", "/app/http", "/app/rpc", "/app/raw"]
    options = {name: one.get("typed_extension_protocol_options", {}).get(HTTP) for name, one in found.items()}
    assert "http_protocol_options" in options["/app/http"]["explicit_http_config"]
    assert "http2_protocol_options" in options["/app/rpc"]["explicit_http_config"]
    assert options["/app/raw"] is None
    endpoint = found["/app/rpc"]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    assert endpoint["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 7002}


def test_no_service_can_be_named_like_a_cluster_of_the_bootstrap() -> None:
    names = clusters(SEEN)
    assert len(names) == 7
    assert [name for name in names if valid_name(name.partition("/")[0])] == []


@pytest.mark.parametrize("name", ["/xds", "/telemetry", "/otlp"])
def test_the_control_plane_is_believed_by_its_identity_only(name: str) -> None:
    context = clusters(SEEN)[name]["transport_socket"]["typed_config"]["common_tls_context"]
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


def test_a_control_plane_by_name_is_resolved() -> None:
    assert clusters(ORDERS)["/xds"]["type"] == "STATIC"
    assert clusters(replace(ORDERS, xds=("plane.example", 15012)))["/xds"]["type"] == "STRICT_DNS"


def test_telemetry_goes_to_the_control_plane_where_it_takes_any() -> None:
    assert "stats_sinks" not in build_bootstrap(ORDERS)
    assert "tracing" not in build_bootstrap(ORDERS)["node"]["metadata"]["bindings"]
    found = build_bootstrap(SEEN)
    assert found["node"]["metadata"]["bindings"]["tracing"] is True
    (sink,) = found["stats_sinks"]
    config = sink["typed_config"]
    assert config["grpc_service"]["envoy_grpc"] == {"cluster_name": "/telemetry"}
    who = config["resource_detectors"][0]["typed_config"]["attributes"]
    assert who == {"service.name": "orders", "service.instance.id": "orders-1"}


def test_spans_go_to_a_collector_in_its_stead_and_metrics_do_not() -> None:
    node = replace(SEEN, collector=("collector.example", 4317))
    found = clusters(node)
    assert "transport_socket" not in found["/otlp"]
    assert found["/otlp"]["type"] == "STRICT_DNS"
    assert "transport_socket" in found["/telemetry"]
    assert "stats_sinks" not in build_bootstrap(replace(node, otlp=None))


def test_the_apps_spans_are_taken_on_loopback_only() -> None:
    found = build_bootstrap(replace(SEEN, bind="0.0.0.0"))["static_resources"]["listeners"]
    (otlp,) = [one for one in found if one["name"] == "otlp"]
    assert otlp["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 15017}
    (one,) = build_bootstrap(replace(ORDERS, spans_port=15017))["static_resources"]["listeners"]
    assert one["name"] == "ready"


@pytest.mark.parametrize(
    ("name", "pushed"),
    [
        ("cluster.orders.upstream_rq_completed", True),
        ("cluster.orders/v2.upstream_rq_5xx", True),
        ("cluster.orders_grpc.grpc.14", True),
        ("cluster.db.upstream_cx_active", True),
        ("http.inbound.downstream_rq_5xx", True),
        ("cluster./app/http.upstream_rq_completed", False),
        ("cluster.orders.external.upstream_rq_completed", False),
        ("cluster.orders.upstream_rq_503", False),
        ("http.ready.downstream_rq_2xx", False),
    ],
)
def test_what_is_pushed_is_kept_and_about_services(name: str, pushed: bool) -> None:
    assert bool(re.fullmatch(EXPORTED_STATS, name)) is pushed
    if pushed:
        safe = [one["safe_regex"] for one in INCLUDED_STATS if "safe_regex" in one]
        patterns = [one["regex"] for one in safe if isinstance(one, dict)]
        assert any(re.fullmatch(one, name) for one in patterns)


def test_it_waits_for_its_first_configuration_and_reconnects_soon() -> None:
    dynamic = build_bootstrap(ORDERS)["dynamic_resources"]
    assert dynamic["lds_config"]["initial_fetch_timeout"] == "0s"
    assert dynamic["cds_config"]["initial_fetch_timeout"] == "0s"
    retry = dynamic["ads_config"]["grpc_services"][0]["envoy_grpc"]["retry_policy"]["retry_back_off"]
    assert retry == {"base_interval": "0.2s", "max_interval": "1s"}


def test_no_secret_is_in_it_and_it_is_the_same_each_time() -> None:
    text = json.dumps(build_bootstrap(ORDERS))
    assert "PRIVATE KEY" not in text
    assert text == json.dumps(build_bootstrap(ORDERS))


def test_one_worker_and_no_shared_memory() -> None:
    argv = envoy_command("/bin/envoy", "./bootstrap.json")
    assert argv[:3] == ("/bin/envoy", "-c", "./bootstrap.json")
    assert argv[argv.index("--concurrency") + 1] == "1"
    assert "--disable-hot-restart" in argv
