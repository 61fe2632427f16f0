"""A test application that breaks connections on request: an HTTP/1.1 server on plain sockets.

`python -m tests.fakes.broken_app` listens on `PORT`. The path says what happens to the first N requests for a
key; the next one gets 200 with the number of tries as its body.

```
/reset/KEY/N    the connection is reset instead of a response
/close/KEY/N    the connection is closed instead of a response
/garbage/KEY/N  the response is not HTTP
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

from meshwright.control_plane.policies.retry.app_failure import HEADER

BROKEN = ("reset", "close", "garbage")


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
            forged = f"{HEADER}: upstream_reset_before_response_started{{x}}\r\n" if kind == "forge" else ""
            head = f"HTTP/1.1 200 OK\r\n{forged}connection: close\r\ncontent-length: {len(body)}\r\n\r\n"
            client.sendall((head + body).encode())
        client.close()


if __name__ == "__main__":
    app = BrokenApp(int(os.environ["PORT"]))
    signal.signal(signal.SIGUSR1, app.close)
    signal.signal(signal.SIGUSR2, app.open)
    app.open()
    threading.Thread(target=app.serve, daemon=True).start()
    while True:
        signal.pause()
