"""The environment that an app gets."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meshwright.sidecar.config import Workload
from meshwright.sidecar.ports import WorkloadPorts
from meshwright.sidecar.proxy_credential import ProxyCredential
from meshwright.sidecar.proxy_env import app_environment, write_environment_file

PORTS = WorkloadPorts(15020, 15001, 15006, {"rpc": 7002, "http": 7001, "admin-api": 7003})


def orders(**changes: Any) -> Workload:
    ports = [{"name": "rpc", "protocol": "grpc"}, {"name": "http"}, {"name": "admin-api"}]
    document = {"name": "orders-1", "service": "orders", "token_file": "t", "ports": ports}
    return Workload.model_validate(document | changes)


def test_calls_go_through_the_sidecar_except_to_the_host_itself() -> None:
    environ = app_environment({}, "/venv/bin", orders(), PORTS)
    for name in ("http_proxy", "HTTP_PROXY", "grpc_proxy", "GRPC_PROXY", "https_proxy", "HTTPS_PROXY"):
        assert environ[name] == "http://127.0.0.1:15001"
    assert environ["no_proxy"] == environ["NO_PROXY"] == "localhost,127.0.0.1,::1"


def test_inherited_proxy_is_replaced() -> None:
    environ = app_environment({"http_proxy": "http://corporate:3128"}, "/venv/bin", orders(), PORTS)
    assert environ["http_proxy"] == "http://127.0.0.1:15001"


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ({"NO_PROXY": "127.0.0.9,.corp"}, "localhost,127.0.0.1,::1,127.0.0.9,.corp"),
        ({"no_proxy": " db , localhost,"}, "localhost,127.0.0.1,::1,db"),
        ({"no_proxy": "db", "NO_PROXY": "db,cache"}, "localhost,127.0.0.1,::1,db,cache"),
        ({"NO_PROXY": "*"}, "localhost,127.0.0.1,::1"),
        ({"NO_PROXY": "*.corp"}, "localhost,127.0.0.1,::1,*.corp"),
    ],
)
def test_hosts_that_need_no_proxy_are_kept(base: dict[str, str], expected: str) -> None:
    environ = app_environment(base, "", orders(), PORTS)
    assert environ["no_proxy"] == environ["NO_PROXY"] == expected


@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY"])
def test_https_proxy_of_the_user_is_kept(name: str) -> None:
    environ = app_environment({name: "http://corporate:3128"}, "", orders(), PORTS)
    assert environ["https_proxy"] == environ["HTTPS_PROXY"] == "http://corporate:3128"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_SERVICE_NAME", "mine"),
        ("OTEL_PROPAGATORS", "b3"),
        ("OTEL_TRACES_SAMPLER", "always_off"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:4318/v1/traces"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "key=secret"),
        ("NODE_USE_ENV_PROXY", "0"),
        ("ALL_PROXY", "socks5://corporate:1080"),
        ("SERVICE_VERSION", "7"),
    ],
)
def test_setting_of_the_user_is_kept(name: str, value: str) -> None:
    environ = app_environment({name: value}, "", orders(), replace(PORTS, otlp=15017))
    assert environ[name] == value


def test_spans_go_where_the_user_sends_them_by_the_users_protocol() -> None:
    base = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}
    environ = app_environment(base, "", orders(), replace(PORTS, otlp=15017))
    assert not {"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL"} & environ.keys()


def test_resource_attributes_of_the_user_go_before_those_of_the_mesh() -> None:
    base = {"OTEL_RESOURCE_ATTRIBUTES": "team=a,service.version=7"}
    environ = app_environment(base, "", orders(labels={"version": "v2"}), PORTS)
    assert environ["OTEL_RESOURCE_ATTRIBUTES"] == "team=a,service.version=7,service.instance.id=orders-1"


def test_app_gets_its_ports_and_its_name() -> None:
    environ = app_environment({}, "/venv/bin", orders(labels={"version": "v2"}), PORTS)
    assert (environ["PORT"], environ["PORT_RPC"], environ["PORT_ADMIN_API"]) == ("7001", "7002", "7003")
    assert (environ["SERVICE_NAME"], environ["INSTANCE"]) == ("orders", "orders-1")
    assert environ["SERVICE_VERSION"] == "v2"


def test_port_is_the_first_one_without_an_http_port() -> None:
    ports = [{"name": "raw", "protocol": "tcp"}, {"name": "rpc", "protocol": "grpc"}]
    workload_ports = WorkloadPorts(1, 2, 3, {"raw": 7003, "rpc": 7002})
    environ = app_environment({}, "/venv/bin", orders(ports=ports), workload_ports)
    assert environ["PORT"] == "7003"


def test_settings_of_the_mesh_are_not_passed_on() -> None:
    base = {"MESH_REDIS_URL": "redis://:secret@host", "HOME": "/home/me", "PATH": "/usr/bin"}
    environ = app_environment(base, "/venv/bin", orders(), PORTS)
    assert "MESH_REDIS_URL" not in environ
    assert (environ["HOME"], environ["PATH"]) == ("/home/me", "/venv/bin:/usr/bin")


def test_environment_of_the_workload_has_the_last_word() -> None:
    environ = app_environment({"A": "base"}, "/venv/bin", orders(env={"A": "workload", "PORT": "1"}), PORTS)
    assert (environ["A"], environ["PORT"]) == ("workload", "1")


def test_path_is_unchanged_without_a_prefix() -> None:
    assert app_environment({"PATH": "/usr/bin"}, "", orders(), PORTS)["PATH"] == "/usr/bin"


def test_opentelemetry_settings_name_the_app_and_its_sidecars_port() -> None:
    workload = orders(labels={"version": "v2"})
    environ = app_environment({}, "/venv/bin", workload, replace(PORTS, otlp=15017))
    assert environ["OTEL_SERVICE_NAME"] == "orders"
    assert environ["OTEL_RESOURCE_ATTRIBUTES"] == "service.instance.id=orders-1,service.version=v2"
    assert environ["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://127.0.0.1:15017"
    assert "127.0.0.1" in environ["NO_PROXY"].split(",")


def test_no_span_exporter_without_a_spans_port() -> None:
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" not in app_environment({}, "/venv/bin", orders(), PORTS)


def test_upstreams_have_their_addresses() -> None:
    upstreams = {"db": "127.10.0.3:5432", "order-log:replica": "127.10.0.4:5433"}
    ports = WorkloadPorts(1, 2, 3, PORTS.apps, upstreams=upstreams)
    environ = app_environment({}, "/venv/bin", orders(), ports)
    assert environ["DB_ADDRESS"] == "127.10.0.3:5432"
    assert environ["ORDER_LOG_REPLICA_ADDRESS"] == "127.10.0.4:5433"


def test_app_gets_the_credential_in_every_proxy_setting() -> None:
    credential = ProxyCredential("s3cr3t")
    environ = app_environment({}, "/venv/bin", orders(), PORTS, credential)
    proxy = f"http://mesh:s3cr3t@127.0.0.1:{PORTS.outbound}"
    assert {environ[name] for name in ("HTTP_PROXY", "http_proxy", "grpc_proxy", "GRPC_PROXY")} == {proxy}
    assert "s3cr3t" not in repr(credential)


def test_environment_file_has_what_systemd_containers_and_shells_read_alike(tmp_path: Path) -> None:
    file = tmp_path / "app.env"
    workload = orders(env={"GREETING": "two words", "PLAIN": "a,b=c"})
    write_environment_file(file, workload, PORTS, ProxyCredential("s3cr3t"))
    lines = dict(line.split("=", 1) for line in file.read_text().splitlines())
    assert file.stat().st_mode & 0o777 == 0o600
    assert lines["HTTP_PROXY"] == f"http://mesh:s3cr3t@127.0.0.1:{PORTS.outbound}"
    assert lines["PLAIN"] == "a,b=c"
    assert not {"PATH", "GREETING"} & lines.keys()
    script = f". {file}; printf %s $HTTP_PROXY"
    assert subprocess.check_output(["/bin/sh", "-c", script], text=True) == lines["HTTP_PROXY"]
