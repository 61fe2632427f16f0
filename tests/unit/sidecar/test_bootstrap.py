"""What an Envoy is told at its start."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from control_plane.api.spiffe import valid_name
from sidecar.bootstrap import AppCluster, Node, bootstrap, command

ORDERS = Node(
    id="orders-1",
    cluster="orders",
    trust_domain="mesh.local",
    xds=("127.0.0.1", 15012),
    admin_socket="/state/admin.sock",
    bind="127.0.0.1",
    ready=15020,
    outbound=15001,
    inbound=15006,
    apps=(AppCluster("http", "http", 7001), AppCluster("rpc", "grpc", 7002), AppCluster("raw", "tcp", 7003)),
)
HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def clusters(node: Node) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in bootstrap(node)["static_resources"]["clusters"]}


def test_the_node_names_itself_and_its_ports() -> None:
    assert bootstrap(ORDERS)["node"] == {
        "id": "orders-1",
        "cluster": "orders",
        "metadata": {"bindings": {"address": "127.0.0.1", "outbound": 15001, "inbound": 15006}},
    }
    gateway = replace(ORDERS, gateway=(("http", 8080),), apps=())
    bindings = bootstrap(gateway)["node"]["metadata"]["bindings"]
    assert bindings == {"address": "127.0.0.1", "gateway": {"http": 8080}}


def test_the_zone_is_told_where_it_is_known() -> None:
    assert "locality" not in bootstrap(ORDERS)["node"]
    assert bootstrap(replace(ORDERS, zone="east"))["node"]["locality"] == {"zone": "east"}


def test_regular_expressions_may_be_larger_than_envoy_takes_by_itself() -> None:
    (layer,) = bootstrap(ORDERS)["layered_runtime"]["layers"]
    assert layer["static_layer"] == {"re2.max_program_size.error_level": 10_000}


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
    names = clusters(replace(ORDERS, collector=("127.0.0.1", 4317)))
    assert len(names) == 6
    assert [name for name in names if valid_name(name.partition("/")[0])] == []


def test_the_control_plane_is_believed_by_its_identity_only() -> None:
    context = clusters(ORDERS)["/xds"]["transport_socket"]["typed_config"]["common_tls_context"]
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


def test_it_waits_for_its_first_configuration_and_reconnects_soon() -> None:
    dynamic = bootstrap(ORDERS)["dynamic_resources"]
    assert dynamic["lds_config"]["initial_fetch_timeout"] == "0s"
    assert dynamic["cds_config"]["initial_fetch_timeout"] == "0s"
    retry = dynamic["ads_config"]["grpc_services"][0]["envoy_grpc"]["retry_policy"]["retry_back_off"]
    assert retry == {"base_interval": "0.2s", "max_interval": "1s"}


def test_no_secret_is_in_it_and_it_is_the_same_each_time() -> None:
    text = json.dumps(bootstrap(ORDERS))
    assert "PRIVATE KEY" not in text
    assert text == json.dumps(bootstrap(ORDERS))


def test_one_worker_and_no_shared_memory() -> None:
    argv = command("/bin/envoy", "./bootstrap.json")
    assert argv[:3] == ("/bin/envoy", "-c", "./bootstrap.json")
    assert argv[argv.index("--concurrency") + 1] == "1"
    assert "--disable-hot-restart" in argv
