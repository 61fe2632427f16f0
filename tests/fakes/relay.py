"""A TCP relay with one target at a time, for tests of clients that reconnect to another server.

It can lose its connections, as a firewall or a NAT gateway that forgets them does: both ends stay open, and
nothing arrives any more.
"""

from __future__ import annotations

import socket
import socketserver
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread


class Relay(socketserver.ThreadingTCPServer):
    """Listens on a free loopback port; new connections go to `target`, host:port."""

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.target = target
        self.accepted = 0
        """The number of connections since its start."""
        self._lost = 0

    @property
    def address(self) -> str:
        """Its address, host:port."""
        return f"127.0.0.1:{self.server_address[1]}"

    def lose_connections(self) -> None:
        """Make the present connections half open: what either end sends is accepted and dropped."""
        self._lost = self.accepted

    def is_lost(self, number: int) -> bool:
        """Whether the connection of this number, from 1, is half open."""
        return number <= self._lost


class _Connection(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        relay = self.server
        assert isinstance(relay, Relay)
        relay.accepted += 1
        number = relay.accepted

        def is_lost() -> bool:
            return relay.is_lost(number)

        host, _, port = relay.target.rpartition(":")
        with suppress(OSError), socket.create_connection((host, int(port)), timeout=60) as upstream:
            upstream.settimeout(None)
            back = Thread(target=_pump, args=(upstream, self.request, is_lost), daemon=True)
            back.start()
            _pump(self.request, upstream, is_lost)
            back.join()


def _pump(source: socket.socket, sink: socket.socket, is_lost: Callable[[], bool]) -> None:
    """Forward until either side closes, then close both; of a lost connection only the one that closed."""
    with suppress(OSError):
        while data := source.recv(65536):
            if not is_lost():
                sink.sendall(data)
    for end in (source,) if is_lost() else (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def relay(target: str) -> Iterator[Relay]:
    """A relay that listens until the block ends."""
    with Relay(target) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.shutdown()
