"""What an app finds in its environment."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from meshwright.sidecar.config import Workload
from meshwright.sidecar.ports import WorkloadPorts, app_environment

PORTS = WorkloadPorts(15020, 15001, 15006, {"rpc": 7002, "http": 7001, "admin-api": 7003})


def orders(**changes: Any) -> Workload:
    ports = [{"name": "rpc", "protocol": "grpc"}, {"name": "http"}, {"name": "admin-api"}]
    document = {"name": "orders-1", "service": "orders", "token_file": "t", "ports": ports}
    return Workload.model_validate(document | changes)


def test_calls_go_through_the_sidecar_but_not_those_to_the_host_itself() -> None:
    found = app_environment({}, "/venv/bin", orders(), PORTS)
    for name in ("http_proxy", "HTTP_PROXY", "grpc_proxy", "GRPC_PROXY"):
        assert found[name] == "http://127.0.0.1:15001"
    assert found["no_proxy"] == found["NO_PROXY"] == "localhost,127.0.0.1,::1"


def test_an_inherited_proxy_is_replaced() -> None:
    found = app_environment({"http_proxy": "http://corporate:3128"}, "/venv/bin", orders(), PORTS)
    assert found["http_proxy"] == "http://127.0.0.1:15001"


def test_it_knows_its_ports_and_its_name() -> None:
    found = app_environment({}, "/venv/bin", orders(labels={"version": "v2"}), PORTS)
    assert (found["PORT"], found["PORT_RPC"], found["PORT_ADMIN_API"]) == ("7001", "7002", "7003")
    assert (found["SERVICE_NAME"], found["INSTANCE"]) == ("orders", "orders-1")
    assert found["SERVICE_VERSION"] == "v2"


def test_without_an_http_port_the_first_one_is_the_port() -> None:
    ports = [{"name": "raw", "protocol": "tcp"}, {"name": "rpc", "protocol": "grpc"}]
    found = app_environment(
        {}, "/venv/bin", orders(ports=ports), WorkloadPorts(1, 2, 3, {"raw": 7003, "rpc": 7002})
    )
    assert found["PORT"] == "7003"


def test_the_meshs_own_settings_stay_with_the_mesh() -> None:
    base = {"MESH_REDIS_URL": "redis://:secret@host", "HOME": "/home/me", "PATH": "/usr/bin"}
    found = app_environment(base, "/venv/bin", orders(), PORTS)
    assert "MESH_REDIS_URL" not in found
    assert (found["HOME"], found["PATH"]) == ("/home/me", "/venv/bin:/usr/bin")


def test_the_workloads_own_settings_win() -> None:
    found = app_environment({"A": "base"}, "/venv/bin", orders(env={"A": "own", "PORT": "1"}), PORTS)
    assert (found["A"], found["PORT"]) == ("own", "1")


def test_without_a_folder_of_its_own_the_path_is_the_users() -> None:
    assert app_environment({"PATH": "/usr/bin"}, "", orders(), PORTS)["PATH"] == "/usr/bin"


def test_telemetry_says_who_it_is_and_goes_to_the_sidecar() -> None:
    found = app_environment({}, "/venv/bin", orders(labels={"version": "v2"}), replace(PORTS, otlp=15017))
    assert found["OTEL_SERVICE_NAME"] == "orders"
    assert found["OTEL_RESOURCE_ATTRIBUTES"] == "service.instance.id=orders-1,service.version=v2"
    assert found["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://127.0.0.1:15017"
    assert "127.0.0.1" in found["NO_PROXY"].split(",")


def test_where_nobody_wants_spans_none_are_sent() -> None:
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" not in app_environment({}, "/venv/bin", orders(), PORTS)


def test_it_is_told_where_its_tcp_services_are() -> None:
    upstreams = {"db": "127.10.0.3:5432", "order-log:replica": "127.10.0.4:5433"}
    found = app_environment(
        {}, "/venv/bin", orders(), WorkloadPorts(1, 2, 3, PORTS.apps, upstreams=upstreams)
    )
    assert found["DB_ADDRESS"] == "127.10.0.3:5432"
    assert found["ORDER_LOG_REPLICA_ADDRESS"] == "127.10.0.4:5433"
