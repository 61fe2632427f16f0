"""A TCP relay with one target at a time, for tests of clients that reconnect to another server."""

from __future__ import annotations

import socket
import socketserver
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread


class Relay(socketserver.ThreadingTCPServer):
    """Listens on a free loopback port; new connections go to `target`, host:port."""

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.target = target

    @property
    def address(self) -> str:
        """Its address, host:port."""
        return f"127.0.0.1:{self.server_address[1]}"


class _Connection(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Relay)
        host, _, port = self.server.target.rpartition(":")
        with suppress(OSError), socket.create_connection((host, int(port)), timeout=60) as upstream:
            upstream.settimeout(None)
            back = Thread(target=_pump, args=(upstream, self.request), daemon=True)
            back.start()
            _pump(self.request, upstream)
            back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Forward until either side closes, then close both."""
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def relay(target: str) -> Iterator[Relay]:
    """A relay that listens until the block ends."""
    with Relay(target) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.shutdown()
