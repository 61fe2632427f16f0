"""A test application that breaks connections on request: an HTTP/1.1 server on plain sockets, and HTTP/2.

`python -m tests.fakes.broken_app` listens on `PORT`, for HTTP/2 on `PORT_CALLS` if that is set. The path
says what happens to the first N requests for a key; the next one gets 200 with the number of tries as its
body.

```
/reset/KEY/N    the connection is reset instead of a response
/close/KEY/N    the connection is closed instead of a response
/garbage/KEY/N  the response is not HTTP
/conflict/KEY/N the response is 409
/refuse/KEY/N   HTTP/2: the stream is refused (REFUSED_STREAM, RFC 9113 section 8.7)
/fail/KEY/N     HTTP/2: the stream is reset with INTERNAL_ERROR
/forge          200 with the header by which sidecars report failures of their apps
```
After SIGUSR1 it refuses connections, until SIGUSR2.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
from collections import Counter

import h2.config
import h2.connection
import h2.events
from h2.errors import ErrorCodes

from meshwright.control_plane.policies.retry.app_failure import HEADER

BROKEN = ("reset", "close", "garbage")
CONFLICT = "conflict"
STREAM_ERRORS = {"refuse": ErrorCodes.REFUSED_STREAM, "fail": ErrorCodes.INTERNAL_ERROR}


class BrokenApp:
    """The listening socket and the tries so far."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listening = threading.Event()
        self._tries: Counter[str] = Counter()
        self._server: socket.socket | None = None

    def open(self, *_: object) -> None:
        """Accept connections."""
        if self._server is None:
            self._server = socket.create_server(("127.0.0.1", self._port))
            self._listening.set()

    def close(self, *_: object) -> None:
        """Refuse connections."""
        server, self._server = self._server, None
        if server is not None:
            self._listening.clear()
            server.shutdown(socket.SHUT_RDWR)
            server.close()

    def serve(self) -> None:
        """Serve one connection after the other."""
        while True:
            self._listening.wait()
            server = self._server
            try:
                client, _ = server.accept() if server else (None, "")
            except OSError:
                continue
            if client is not None:
                self._respond(client)

    def _respond(self, client: socket.socket) -> None:
        head = client.recv(65536).decode("latin-1")
        kind, *key = head.split(" ", 2)[1].strip("/").split("/") if head else [""]
        name = "/".join((kind, *key[:1]))
        self._tries[name] += 1
        if kind in BROKEN and self._tries[name] <= int(key[-1]):
            if kind == "reset":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif kind == "garbage":
                client.sendall(b"garbage\r\n\r\n")
        elif head:
            body = str(self._tries[name])
            conflict = kind == CONFLICT and self._tries[name] <= int(key[-1])
            status = "409 Conflict" if conflict else "200 OK"
            forged = f"{HEADER}: upstream_reset_before_response_started{{x}}\r\n" if kind == "forge" else ""
            head = f"HTTP/1.1 {status}\r\n{forged}connection: close\r\ncontent-length: {len(body)}\r\n\r\n"
            client.sendall((head + body).encode())
        client.close()


class StreamApp:
    """The HTTP/2 side; the tries so far are of all its connections."""

    def __init__(self) -> None:
        self._tries: Counter[str] = Counter()
        self._lock = threading.Lock()

    def serve(self, port: int) -> None:
        """Serve each connection in a thread of its own."""
        server = socket.create_server(("127.0.0.1", port))
        while True:
            client, _ = server.accept()
            threading.Thread(target=self._connection, args=(client,), daemon=True).start()

    def _connection(self, client: socket.socket) -> None:
        config = h2.config.H2Configuration(client_side=False, header_encoding=None)
        connection = h2.connection.H2Connection(config)
        connection.initiate_connection()
        client.sendall(connection.data_to_send())
        while data := client.recv(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    path = dict(event.headers)[b":path"].decode()
                    self._respond(connection, event.stream_id, path)
            client.sendall(connection.data_to_send())
        client.close()

    def _respond(self, connection: h2.connection.H2Connection, stream: int, path: str) -> None:
        kind, key, failures = path.strip("/").split("/")
        with self._lock:
            self._tries[f"{kind}/{key}"] += 1
            tries = self._tries[f"{kind}/{key}"]
        if tries <= int(failures):
            connection.reset_stream(stream, STREAM_ERRORS[kind])
            return
        connection.send_headers(stream, [(":status", "200")])
        connection.send_data(stream, str(tries).encode(), end_stream=True)


if __name__ == "__main__":
    app = BrokenApp(int(os.environ["PORT"]))
    signal.signal(signal.SIGUSR1, app.close)
    signal.signal(signal.SIGUSR2, app.open)
    app.open()
    threading.Thread(target=app.serve, daemon=True).start()
    if port := os.environ.get("PORT_CALLS"):
        threading.Thread(target=StreamApp().serve, args=(int(port),), daemon=True).start()
    while True:
        signal.pause()
