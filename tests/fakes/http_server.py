"""A small HTTP server in a thread, with a handler of the test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.fakes.ports import free_port


@contextmanager
def running_http_server(
    handler: type[BaseHTTPRequestHandler], port: int = 0, address: str = "127.0.0.1"
) -> Iterator[int]:
    """The port of a server with `handler`. It can be restarted on `port`, which no other process takes."""
    server = ThreadingHTTPServer((address, port or free_port()), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
