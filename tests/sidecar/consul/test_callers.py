"""Whose client is whose, by real processes and connections."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from meshwright.sidecar.consul.callers import Callers, ClientSocket

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="clients are recognised on Linux alone")

APP = """
import os, socket, sys
server = int(sys.argv[1])
listener = socket.create_server(("127.0.0.1", 0)) if "listen" in sys.argv else None
if "fork" in sys.argv and os.fork():
    os.wait()
    sys.exit()
if listener and "close" in sys.argv:
    listener.close()
family = socket.AF_INET6 if "v6" in sys.argv else socket.AF_INET
client = socket.socket(family)
client.connect(("::ffff:127.0.0.1" if "v6" in sys.argv else "127.0.0.1", server))
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("127.0.0.1", 0))
port = listener.getsockname()[1] if listener and listener.fileno() >= 0 else int("close" in sys.argv)
print(port, client.getsockname()[1], datagrams.getsockname()[1], flush=True)
sys.stdin.read()
"""


class App:
    """A process with a connection to the server."""

    def __init__(self, server: int, *arguments: str) -> None:
        argv = [sys.executable, "-c", APP, str(server), *arguments]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.port, client, datagrams = map(int, self.process.stdout.readline().split())
        self.client = ClientSocket("tcp", client, server)
        self.datagrams = ClientSocket("udp", datagrams)

    def stop(self) -> None:
        self.process.communicate()


@pytest.fixture
def server() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@contextmanager
def apps(server: int, *arguments: str) -> Iterator[tuple[App, ...]]:
    started = tuple(App(server, *item.split()) for item in arguments)
    try:
        yield started
    finally:
        for app in started:
            app.stop()


def test_a_client_is_the_service_at_whose_port_its_process_or_a_parent_listens(server: int) -> None:
    callers = Callers()
    with apps(server, "listen", "listen fork", "listen v6", "") as (plain, worker, v6, stranger):
        ports = {plain.port: "plain", worker.port: "worker", v6.port: "v6"}
        for _ in range(2):
            assert callers.service_of(plain.client, ports) == "plain"
            assert callers.service_of(plain.datagrams, ports) == "plain"
            assert callers.service_of(worker.client, ports) == "worker"
            assert callers.service_of(v6.client, ports) == "v6"
            assert callers.service_of(stranger.client, ports) == ""
            assert callers.service_of(plain.client, {v6.port: "v6"}) == ""
    assert callers.service_of(plain.client, ports) == ""


def test_a_client_is_the_service_that_its_process_registered_and_no_other(server: int) -> None:
    callers = Callers()
    with apps(server, "", "") as (single, deployer):
        callers.register("single", single.client)
        callers.register("left", deployer.client)
        callers.register("right", deployer.client)
        ports = {1: "single", 2: "left", 3: "right"}
        assert callers.service_of(single.client, ports) == "single"
        assert callers.service_of(deployer.client, ports) == ""
        assert callers.service_of(single.client, {2: "left"}) == ""
