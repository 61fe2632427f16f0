"""HTTP/1 byte for byte over a socket: what client libraries would change or refuse to send."""

from __future__ import annotations

import base64
import json
import socket
from dataclasses import dataclass
from typing import Any

TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class RawResponse:
    """A response: the final status, headers by lower-case name, the body, and everything as it arrived."""

    status: int
    headers: dict[str, list[str]]
    body: str
    text: str

    @property
    def request_id(self) -> str:
        """Its `x-request-id`."""
        return self.headers["x-request-id"][0]

    @property
    def seen(self) -> dict[str, Any]:
        """What the raw app saw of the request."""
        seen: dict[str, Any] = json.loads(self.body)
        return seen


def exchange(port: int, *parts: str, source: str = "127.0.0.1", timeout: float = TIMEOUT) -> RawResponse:
    """Send a request and read to the end. Further parts are sent after a response to the part before."""
    with socket.create_connection(("127.0.0.1", port), timeout, source_address=(source, 0)) as client:
        received = b""
        for index, part in enumerate(parts):
            if index:
                received += client.recv(65536)
            client.sendall(part.encode("latin-1"))
        while data := client.recv(65536):
            received += data
    return parse(received.decode("latin-1"))


def parse(text: str) -> RawResponse:
    """The last response of the text."""
    rest = text
    while True:
        head, _, rest = rest.partition("\r\n\r\n")
        status = int(head.split(" ")[1])
        if status >= 200:
            break
    headers: dict[str, list[str]] = {}
    for line in head.split("\r\n")[1:]:
        name, _, value = line.partition(":")
        headers.setdefault(name.lower(), []).append(value.strip())
    return RawResponse(status, headers, rest, text)


def planned(response: str) -> str:
    """The header that lets the raw app respond with this text; lines end with `\\n` in it."""
    encoded = base64.b64encode(response.replace("\n", "\r\n").encode("latin-1")).decode()
    return f"X-Respond: {encoded}\r\n"
