"""TCP services with real sidecars: one address each, servers that send first, mutual TLS, TCPRoute."""

from __future__ import annotations

import socket
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.mesh_api import api

ROUTE = """
apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TCPRoute
metadata: {name: plain}
spec:
  parentRefs: [{kind: Service, name: plain}]
  rules:
    - backendRefs:
        - {group: meshwright.io, kind: Subset, name: first, weight: 80}
        - {group: meshwright.io, kind: Subset, name: second, weight: 20}
---
apiVersion: meshwright.io/v1
kind: Subset
metadata: {name: first}
spec: {service: plain, labels: {version: v1}}
---
apiVersion: meshwright.io/v1
kind: Subset
metadata: {name: second}
spec: {service: plain, labels: {version: v2}}
"""
PERMISSIVE = """
apiVersion: meshwright.io/v1
kind: MutualTLS
metadata: {name: greeter}
spec: {targetRefs: [{kind: Service, name: greeter}], mode: Permissive}
"""
AUTHORIZATION = """
apiVersion: meshwright.io/v1
kind: Authorization
metadata: {name: plain}
spec: {targetRefs: [{kind: Service, name: plain}], rules: [%s]}
"""
NUMBER = 15432


def tcp(name: str, version: str, greeting: str = "") -> dict[str, Any]:
    """A replica of the TCP fake; callers may use port `NUMBER`."""
    return {
        **service(name, labels={"version": version}, GREETING=greeting),
        "command": [sys.executable, "-m", "tests.fakes.tcp_app"],
        "ports": [{"name": "tcp", "protocol": "tcp", "number": NUMBER}],
        "health": {"interval": "1s"},
    }


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    front = {**service("front", replicas=2), "upstreams": ["plain", "greeter", "nobody"]}
    services = [front, tcp("plain", "v1"), tcp("plain", "v2"), tcp("greeter", "v1", greeting="hello")]
    with running_mesh(tmp_path_factory.mktemp("mesh"), services) as running:
        yield running


def address(mesh: Mesh, upstream: str, instance: str = "front-1") -> tuple[str, int]:
    """The address of `upstream` in the environment of the application of `instance`."""
    settings = Path(f"/proc/{mesh.pid(instance)}/environ").read_text().split("\0")
    variables = dict(setting.split("=", 1) for setting in settings if setting)
    host, _, port = variables[f"{upstream.upper()}_ADDRESS"].rpartition(":")
    return host, int(port)


@contextmanager
def connected(where: tuple[str, int]) -> Iterator[Any]:
    """A connection as a binary file."""
    with (
        socket.create_connection(where, timeout=30) as connection,
        connection.makefile("rwb", buffering=0) as lines,
    ):
        yield lines


def ask(where: tuple[str, int], line: bytes = b"x\n") -> bytes:
    """The response to one line on a new connection; empty when the other end closes or resets it."""
    try:
        with connected(where) as lines:
            lines.write(line)
            return bytes(lines.readline())
    except ConnectionError:
        return b""


def greeting(where: tuple[str, int]) -> bytes:
    """The first bytes that a server sends; empty when the other end closes or resets the connection."""
    try:
        with connected(where) as lines:
            return bytes(lines.readline())
    except ConnectionError:
        return b""


def test_upstream_has_its_own_address_in_each_sidecar(mesh: Mesh) -> None:
    pairs = [address(mesh, name, of) for name in ("plain", "greeter") for of in ("front-1", "front-2")]
    if sys.platform == "linux":
        assert {port for _, port in pairs} == {NUMBER}
        assert all(host.startswith("127.10.") for host, _ in pairs)
    assert len(set(pairs)) == 4


def test_connections_are_spread_over_replicas(mesh: Mesh) -> None:
    counter = Counter(ask(address(mesh, "plain")) for _ in range(60))
    assert set(counter) == {b"plain-1: x\n", b"plain-2: x\n"}
    assert min(counter.values()) > 10


def test_connection_stays_with_its_replica(mesh: Mesh) -> None:
    with connected(address(mesh, "plain")) as lines:
        responses = []
        for number in range(20):
            lines.write(f"{number}\n".encode())
            responses.append(lines.readline())
    names = {response.partition(b":")[0] for response in responses}
    assert len(names) == 1
    assert [response.partition(b": ")[2] for response in responses] == [
        f"{number}\n".encode() for number in range(20)
    ]


def test_server_may_speak_first(mesh: Mesh) -> None:
    with connected(address(mesh, "greeter")) as lines:
        assert lines.readline() == b"hello greeter-1\n"
        lines.write(b"x\n")
        assert lines.readline() == b"greeter-1: x\n"


def test_connect_to_the_number_of_its_port_reaches_a_service_like_an_upstream(mesh: Mesh) -> None:
    def tunnel(host: str) -> tuple[bytes, bytes]:
        """The status of CONNECT, and the first line after a line was sent on the connection."""
        with connected(("127.0.0.1", mesh.ports("front-1")["outbound"])) as lines:
            lines.write(f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            status = lines.readline()
            while lines.readline().strip():
                pass
            if b" 200 " not in status:
                return status.split()[1], b""
            lines.write(b"x\n")
            return status.split()[1], lines.readline()

    assert tunnel(f"greeter:{NUMBER}") == (b"200", b"hello greeter-1\n")
    assert tunnel(f"plain.mesh:{NUMBER}")[1].startswith(b"plain-")
    assert tunnel(f"plain:{NUMBER + 1}") == (b"404", b"")
    assert mesh.get("front-1", f"http://plain:{NUMBER}/").status_code == 404
    mesh.apply(AUTHORIZATION % "{from: [{services: [nobody]}]}")
    try:
        assert tunnel(f"plain:{NUMBER}")[1] == b""
    finally:
        mesh.delete("Authorization", "plain")


def test_plaintext_to_the_inbound_port_is_refused(mesh: Mesh) -> None:
    inbound = ("127.0.0.1", mesh.ports("plain-1")["inbound"])
    assert ask(inbound, b"a line that is no TLS ClientHello\n") == b""


def test_server_may_speak_first_where_plaintext_is_permitted(mesh: Mesh) -> None:
    mesh.apply(PERMISSIVE)
    try:
        inbound = ("127.0.0.1", mesh.ports("greeter-1")["inbound"])
        until(lambda: greeting(inbound) == b"hello greeter-1\n", "plaintext gets in")
        assert ask(address(mesh, "greeter")) == b"hello greeter-1\n"
    finally:
        mesh.delete("MutualTLS", "greeter")


def test_unknown_upstream_closes_connections_at_once(mesh: Mesh) -> None:
    assert ask(address(mesh, "nobody")) == b""


def test_authorization_refuses_new_connections_and_keeps_established_ones(mesh: Mesh) -> None:
    where = address(mesh, "plain")
    with connected(where) as lines:
        lines.write(b"before\n")
        before = lines.readline()
        for rule, expected in (
            ("{from: [{services: [nobody]}]}", b""),
            ("{from: [{services: [front]}]}", b"plain-"),
            ("{from: [{addresses: [127.0.0.0/8]}]}", b"plain-"),
            ("{from: [{services: [front]}]}, {action: deny, to: [{ports: [tcp]}]}", b""),
            ("{from: [{services: [front]}]}, {action: deny, to: [{methods: [GET]}]}", b"plain-"),
        ):
            mesh.apply(AUTHORIZATION % rule)
            assert ask(where)[:6] == expected, rule
        mesh.apply(AUTHORIZATION % "{from: [{services: [nobody]}]}")
        try:
            lines.write(b"after\n")
            assert lines.readline() == before.replace(b"before", b"after")
            assert ask(address(mesh, "greeter")).startswith(b"hello")
            details = "rbac_access_denied_matched_policy[none]"
            until(lambda: details in api(mesh, "/api/v1/requests?service=plain").text, "its record")
        finally:
            mesh.delete("Authorization", "plain")
    assert ask(where).startswith(b"plain-")


def test_weights_split_new_connections_and_keep_established_ones(mesh: Mesh) -> None:
    where = address(mesh, "plain")
    with connected(where) as lines:
        lines.write(b"before\n")
        before = lines.readline()
        mesh.apply(ROUTE)
        try:
            counter = Counter(ask(where) for _ in range(500))
            assert counter[b"plain-1: x\n"] + counter[b"plain-2: x\n"] == 500
            assert 60 <= counter[b"plain-2: x\n"] <= 140
            lines.write(b"after\n")
            assert lines.readline() == before.replace(b"before", b"after")
        finally:
            mesh.delete("TCPRoute", "plain")


def test_stopped_replica_gets_no_more_connections(mesh: Mesh) -> None:
    mesh.stop_workload("plain-2")
    where = address(mesh, "plain")
    until(lambda: {ask(where) for _ in range(10)} == {b"plain-1: x\n"}, "only plain-1 responds")
