"""Only the app of a sidecar calls through it: real Envoys, clients, and callers without the credential."""

from __future__ import annotations

import json
import re
import socket
import stat
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests

from tests.cli.joining import command
from tests.envoy.harness import ROOT, Mesh, running_mesh, service, until
from tests.fakes.ports import free_port

CLIENT = ROOT / "tests/envoy/credential_client.py"
LIBRARIES = ("requests", "aiohttp", "urllib", "curl", "curl through CONNECT")


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    echo = {
        **service("echo"),
        "command": [sys.executable, "-m", "tests.fakes.grpc_app"],
        "ports": [{"name": "grpc", "protocol": "grpc", "number": 50051}],
    }
    del echo["health"]
    services = [service("front"), service("back"), echo]
    folder = tmp_path_factory.mktemp("mesh")
    with running_mesh(folder, services, MESH_PROXY_CREDENTIAL="on") as running:
        yield running


def secret(mesh: Mesh, name: str) -> str:
    return (mesh.state / "sidecars" / name / "credential").read_text().strip()


def proxy(mesh: Mesh, name: str, userinfo: str = "") -> dict[str, str]:
    url = f"http://{userinfo}127.0.0.1:{mesh.ports(name)['outbound']}"
    return {"http": url, "https": url}


def fetch(mesh: Mesh, userinfo: str, path: str = "/echo", **headers: str) -> requests.Response:
    return requests.get(
        f"http://back{path}", proxies=proxy(mesh, "front-1", userinfo), headers=headers, timeout=20
    )


def test_libraries_send_the_credential_and_the_app_does_not_see_it(mesh: Mesh) -> None:
    done = mesh.run("run", "--service", "probe", "--", sys.executable, str(CLIENT))
    seen: dict[str, Any] = json.loads(done.stdout)
    for name in ("HTTP_PROXY", "http_proxy", "grpc_proxy"):
        assert re.fullmatch(r"http://mesh:[-\w]{43}@127\.0\.0\.1:\d+", seen["environment"][name])
    for library in LIBRARIES:
        headers = {name.lower() for name in seen[library]["headers"]}
        assert "host" in headers
        assert "proxy-authorization" not in headers, library
    assert seen["grpc"] == "OK"


@pytest.mark.parametrize("userinfo", ["", "mesh:@", "mesh:wrong@", "front:{secret}@", "mesh:{other}@"])
def test_a_caller_without_the_credential_gets_a_407_with_a_reason(mesh: Mesh, userinfo: str) -> None:
    userinfo = userinfo.format(secret=secret(mesh, "front-1"), other=secret(mesh, "back-1"))
    assert fetch(mesh, f"mesh:{secret(mesh, 'front-1')}@").status_code == 200  # the host is known
    response = fetch(mesh, userinfo)
    assert response.status_code == 407
    assert response.headers["proxy-authenticate"] == 'Basic realm="mesh"'
    assert response.headers["x-request-id"]
    assert "serves only its own app" in response.text
    assert fetch(mesh, f"mesh:{secret(mesh, 'front-1')}@").status_code == 200


@pytest.mark.parametrize(
    "header",
    ["Basic", "Basic !!!", "Basic bWVzaA==", "Bearer x", "", "Basic bWVzaDo6Og==", "Basic " + "A" * 4000],
)
def test_a_malformed_credential_gets_a_407(mesh: Mesh, header: str) -> None:
    response = fetch(mesh, "", **{"Proxy-Authorization": header})
    assert response.status_code == 407
    assert "serves only its own app" in response.text


@pytest.mark.parametrize(
    "headers",
    [
        ("Bearer x", "Basic x"),
        ("Basic x", "Bearer x"),
        ("", "Basic x"),
        ("Basic", "Basic x"),
        ("Bearer x", "{valid}"),
        ("basic x", "Basic bWVzaDp4"),
    ],
)
def test_no_combination_of_credentials_passes_unless_the_first_is_valid(
    mesh: Mesh, headers: tuple[str, ...]
) -> None:
    valid = "Basic " + b64encode(f"mesh:{secret(mesh, 'front-1')}".encode()).decode()
    lines = "".join(f"Proxy-Authorization: {value.format(valid=valid)}\r\n" for value in headers)
    with socket.create_connection(("127.0.0.1", mesh.ports("front-1")["outbound"]), 20) as connection:
        connection.sendall(f"GET /echo HTTP/1.1\r\nHost: back\r\n{lines}\r\n".encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 407 ")


def test_the_first_request_to_a_host_needs_the_credential_like_all_later_ones(mesh: Mesh) -> None:
    """Envoy chooses the filters of the first one before it knows what the host configures."""
    statuses = [
        requests.get("http://front/echo", proxies=proxy(mesh, "back-1", userinfo), timeout=20).status_code
        for userinfo in ("", "", f"mesh:{secret(mesh, 'back-1')}@", "")
    ]
    assert statuses == [407, 407, 200, 407]


def test_hosts_outside_the_mesh_need_the_credential_too(mesh: Mesh) -> None:
    for url in ("http://outside.example/", "http://10.255.255.1/"):
        assert requests.get(url, proxies=proxy(mesh, "front-1"), timeout=20).status_code == 407


def test_a_tunnel_needs_the_credential_whatever_it_says_it_carries(mesh: Mesh) -> None:
    for target in ("back:80", "echo:50051", "outside.example:443"):
        for extra in ("", "Content-Type: application/grpc\r\n", "X-HTTP-Method-Override: POST\r\n"):
            with socket.create_connection(("127.0.0.1", mesh.ports("front-1")["outbound"]), 20) as connection:
                connection.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{extra}\r\n".encode())
                assert connection.recv(4096).startswith(b"HTTP/1.1 407 "), (target, extra)


def test_a_grpc_channel_to_the_listener_itself_reaches_grpc_ports_only(mesh: Mesh) -> None:
    outbound = f"127.0.0.1:{mesh.ports('front-1')['outbound']}"
    options = [("grpc.default_authority", "echo"), ("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(outbound, options=options) as channel:
        assert channel.unary_unary("/fake.Echo/Echo", None, None)(b"{}", timeout=20)
    # Envoy answers what calls itself gRPC with 200 and a gRPC status.
    grpc_type = {"Content-Type": "application/grpc"}
    response = requests.post(
        "http://back/echo", proxies=proxy(mesh, "front-1"), headers=grpc_type, timeout=20
    )
    assert response.content == b""
    assert response.headers["grpc-status"] != "0"


def test_the_secret_is_in_no_log_status_and_configuration(mesh: Mesh) -> None:
    value = secret(mesh, "front-1")
    fetch(mesh, f"mesh:{value}@")
    path = mesh.state / "sidecars/front-1/credential"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for text in ("proxy front-1 config -o json", "status -o json", "proxies -o json"):
        arguments = text.split()
        assert value not in mesh.run(*arguments).stdout
    holders = [
        file for file in mesh.state.rglob("*") if file.is_file() and value.encode() in file.read_bytes()
    ]
    assert holders == [path]


def test_an_agents_app_takes_the_credential_from_a_file(mesh: Mesh, tmp_path: Path) -> None:
    file, port = tmp_path / "app.env", str(free_port())
    ports = ("--outbound-port", "0", "--inbound-port", "0", "--ready-port", "0")
    arguments = ("--service", "pair", "--instance", "pair-1", "--port", port, *ports, "--app-env", str(file))
    userinfo_before = ""
    for _ in range(2):
        with started(mesh, "agent", *arguments):
            settings = until(lambda: working_settings(file), "the app can call through its sidecar")
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert (settings["PORT"], settings["INSTANCE"]) == (port, "pair-1")
            userinfo, _, address = settings["HTTP_PROXY"].partition("@")
            assert status_through(f"http://{address}") == 407
            assert userinfo_before in ("", userinfo), "an app that goes on keeps its credential"
            userinfo_before = userinfo


@contextmanager
def started(mesh: Mesh, *arguments: str) -> Iterator[None]:
    """`mesh ARGUMENTS`, stopped at the end."""
    process = subprocess.Popen(command(*arguments), env=mesh.environment, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def working_settings(file: Path) -> dict[str, str]:
    """The environment in the file, once calls with it succeed; empty before."""
    if not file.exists():
        return {}
    settings = dict(line.split("=", 1) for line in file.read_text().splitlines())
    return settings if status_through(settings["HTTP_PROXY"]) == 200 else {}


def status_through(proxy_url: str) -> int:
    """The status of a call through this proxy; 0 when nothing listens there."""
    try:
        return requests.get("http://back/echo", proxies={"http": proxy_url}, timeout=20).status_code
    except requests.ConnectionError:
        return 0
