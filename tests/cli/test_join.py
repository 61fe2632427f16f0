"""How the options of `mesh run` and `mesh agent` become a Workload, and what the process keeps from gRPC."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from meshwright.cli.join.workload import TOKEN_FILE, build_workload, generate_instance_name, parse_port
from meshwright.control_plane.errors import InputError

GOAWAY = """
import os, socket, threading
from meshwright.cli.join.grpc_log import silence_grpc
silence_grpc()
import meshwright.cli.join.runner
import grpc
listener = socket.create_server(("127.0.0.1", 0))
def serve():
    connection, _ = listener.accept()
    connection.sendall(bytes.fromhex("000000040000000000"))
    received = b""
    while b"/lab/Call" not in received and b"lab" not in received:
        received += connection.recv(65535)
    connection.sendall(bytes.fromhex("000008070000000000" "0000000100000002"))
    connection.close()
threading.Thread(target=serve, daemon=True).start()
with grpc.insecure_channel(f"127.0.0.1:{listener.getsockname()[1]}") as channel:
    try:
        channel.unary_unary("/lab/Call", None, None)(b"", timeout=20)
    except grpc.RpcError as error:
        print(error.code().name, os.environ.get("GRPC_VERBOSITY"))
"""
"""Calls a server that sends SETTINGS and then GOAWAY with INTERNAL_ERROR, which gRPC logs by default."""


def test_a_workload_is_built_from_the_text_of_options() -> None:
    workload = build_workload(
        service="orders",
        instance="orders-7",
        labels=["version=v2"],
        upstreams=["db=5432", "cache"],
        health="/ready",
        ports=(parse_port("8000", "http"), parse_port("grpc=50051", "http")),
        command=("app",),
        attached=True,
    )
    assert (workload.name, workload.role, workload.token_file) == ("orders-7", "service", TOKEN_FILE)
    assert (workload.labels, workload.upstreams) == ({"version": "v2"}, {"db": 5432, "cache": 0})
    ports = [(port.name, port.protocol, port.number, port.app_port) for port in workload.ports]
    assert ports == [("http", "http", 8000, 8000), ("grpc", "grpc", 50051, 50051)]


def test_a_gateway_has_listeners_and_its_own_token() -> None:
    workload = build_workload(
        service="edge", role="gateway", listeners=["web=8080"], token_file=Path("edge.token")
    )
    assert workload.gateway_ports == {"web": 8080}
    assert workload.token_file == Path("edge.token").absolute()


def test_a_generated_name_is_unique_and_fits_a_dns_label() -> None:
    names = {generate_instance_name("orders") for _ in range(50)}
    assert len(names) == 50
    assert all(name.startswith("orders-run-") for name in names)
    assert len(generate_instance_name("a" * 63)) == 63


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"service": "Orders"},
            "--service: 'Orders' is not a valid name: use lower-case letters, digits and",
        ),
        ({"instance": "A_B"}, "--instance: 'A_B' is not a valid name"),
        ({"labels": ["version"]}, "--label version: expected KEY=VALUE"),
        ({"upstreams": ["=5432"]}, "--upstream =5432: expected NAME or NAME=PORT"),
        ({"listeners": ["web"]}, "--listener web: expected NAME=PORT"),
        ({"upstreams": ["A"]}, "--upstream: 'A' is not a valid name"),
        ({"labels": ["a=" + "x" * 64]}, "--label: 'xxx"),
        ({"health": "ready"}, "--health: 'ready' is not a valid path"),
        (
            {"ports": (parse_port("80", "http"), parse_port("http=81", "tcp")), "instance": "a"},
            "a: two ports",
        ),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as raised:
        build_workload(**{"service": "orders", **options})  # type: ignore[arg-type]
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["", "http", "=8000", "0", "65536", "http=-1"])
def test_an_invalid_port_is_rejected(text: str) -> None:
    with pytest.raises(InputError, match=r"--port .*: expected PORT or NAME=PORT"):
        parse_port(text, "http")


def test_only_a_process_that_the_agent_starts_may_have_a_free_port() -> None:
    assert parse_port("grpc=0", "http", lowest=0).app_port == 0
    with pytest.raises(InputError, match="--port grpc=0: expected PORT or NAME=PORT"):
        parse_port("grpc=0", "http")


def test_grpc_logs_nothing_and_the_environment_stays_unchanged() -> None:
    done = subprocess.run(
        [sys.executable, "-c", GOAWAY], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "UNAVAILABLE None\n"
    assert done.stderr == ""
