"""HTTP/2 header by header: what client libraries would change or refuse to send."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import h2.config
import h2.connection
import h2.events

TIMEOUT = 60.0

REFUSED = 0
"""The status of a request whose stream or connection the server ended."""


def status(port: int, headers: Sequence[tuple[str, str]]) -> int:
    """The status of a request with exactly these headers, on a connection of its own."""
    connection = h2.connection.H2Connection(
        h2.config.H2Configuration(
            client_side=True,
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
    )
    connection.initiate_connection()
    connection.send_headers(1, [(name.encode(), value.encode("latin-1")) for name, value in headers], True)
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as client:
        client.sendall(connection.data_to_send())
        while data := client.recv(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    return int(dict(event.headers)[b":status"])
                if isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                    return REFUSED
            client.sendall(connection.data_to_send())
    return REFUSED
