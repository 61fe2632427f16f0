"""Strangers without a token or certificate at the ports of a control plane, started with a low file limit."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import pytest
import requests

from tests.control_plane.attacks.conftest import Api, until
from tests.scale.plane import ControlPlaneProcess, control_plane

HALF = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "
HANDSHAKE_TIMEOUT = 10.0


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlaneProcess]:
    """A control plane that was started with the usual soft limit of 1024 files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        with control_plane(tmp_path_factory.mktemp("plane")) as running:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            yield running
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def port(plane: ControlPlaneProcess, listener: str) -> int:
    """The port of a listener."""
    addresses = plane.addresses
    number = {
        "admin": urlsplit(addresses.admin).port,
        "enrolment": int(addresses.enrolment.rpartition(":")[2]),
        "xds": int(addresses.xds.rpartition(":")[2]),
        "otlp": int(addresses.otlp.rpartition(":")[2]),
    }[listener]
    assert number
    return number


@contextmanager
def connections(number: int, count: int, data: bytes = b"") -> Iterator[list[socket.socket]]:
    """Open connections that sent `data`."""
    with ExitStack() as stack:
        opened = []
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", number), timeout=60))
            with contextlib.suppress(ConnectionError):
                connection.sendall(data)
            opened.append(connection)
        yield opened


def alive(held: list[socket.socket]) -> int:
    """How many connections their peer has not closed."""
    count = 0
    for connection in held:
        connection.setblocking(False)
        try:
            connection.recv(1)
        except BlockingIOError:
            count += 1
        except ConnectionError:
            pass
    return count


def metric(plane: ControlPlaneProcess, name: str) -> int:
    return plane.metrics()[name]


def test_half_requests_at_the_admin_port_delay_nobody_and_are_cut(
    plane: ControlPlaneProcess, reader: Api
) -> None:
    size = plane.log.stat().st_size
    with connections(port(plane, "admin"), 2_000, HALF) as held:
        started = time.monotonic()
        assert reader.get("/status")["revision"] == 0
        assert time.monotonic() - started < 5
        assert alive(held) <= 512
        until(lambda: alive(held) == 0, "all are closed", 40)
    closed = plane.metrics()
    assert closed['mesh_connections_closed_total{listener="admin",reason="limit"}'] > 1_000
    assert closed['mesh_connections_closed_total{listener="admin",reason="timeout"}'] > 100
    assert plane.log.stat().st_size - size < 50_000


def test_log_of_a_control_plane_under_attack_is_short_and_json(plane: ControlPlaneProcess) -> None:
    size = plane.log.stat().st_size
    for _ in range(300):
        with connections(port(plane, "admin"), 1, b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\n\r\n") as (
            connection,
        ):
            connection.recv(100)
        requests.get(f"{plane.addresses.admin}/api/v1/status", headers={"Host": "evil"}, timeout=30)
    log = plane.log.read_text()
    lines = [json.loads(line) for line in log[size:].splitlines()]
    assert len(log) - size < 40_000
    assert {"malformed request", "admin request denied"} <= {line["event"] for line in lines}
    assert {line["peer"] for line in lines} == {"127.0.0.1"}
    assert "Traceback" not in log


def test_idle_tls_connections_do_not_starve_enrolment(plane: ControlPlaneProcess) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with connections(port(plane, "enrolment"), 520) as held, ExitStack() as stack:
        for connection in held:
            with contextlib.suppress(OSError):
                stack.enter_context(context.wrap_socket(connection))
        response = requests.get(f"https://{plane.addresses.enrolment}/v1/ca", verify=False, timeout=30)  # noqa: S501
        assert response.status_code == 200
        assert metric(plane, 'mesh_connections{listener="enrolment"}') <= 256
    assert metric(plane, 'mesh_connections_closed_total{listener="enrolment",reason="limit"}') > 200


@pytest.mark.parametrize("listener", ["enrolment", "xds", "otlp"])
def test_connections_without_a_tls_handshake_cost_little_and_are_cut(
    plane: ControlPlaneProcess, listener: str
) -> None:
    before = plane.rss_bytes
    with connections(port(plane, listener), 2_000) as held:
        grown = plane.rss_bytes - before
        until(lambda: alive(held) == 0, "all are closed", HANDSHAKE_TIMEOUT + 30)
    assert grown < 150 * 1024 * 1024
