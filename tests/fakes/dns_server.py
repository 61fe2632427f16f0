"""A DNS server in a thread that knows the IPv4 addresses of a few names (RFC 1035)."""

from __future__ import annotations

import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address

TTL = 1
"""Seconds that an answer stays valid."""

_A = 1
_RESPONSE, _NAME_ERROR = 0x8580, 0x8583
_HEADER = 12
_POINTER_TO_NAME = 0xC00C


@dataclass
class DnsRecords:
    """The addresses by name, which a test may change. `port` is the server's, `queries` are names."""

    addresses: dict[str, list[str]] = field(default_factory=dict)
    port: int = 0
    queries: list[str] = field(default_factory=list)


@contextmanager
def running_dns_server(records: DnsRecords) -> Iterator[None]:
    """Answer from `records` over UDP on loopback."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            query, sock = self.request
            sock.sendto(answer(query, records), self.client_address)

    with socketserver.ThreadingUDPServer(("127.0.0.1", 0), Handler) as server:
        records.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def answer(query: bytes, records: DnsRecords) -> bytes:
    """The response to a query with one question."""
    labels, position = [], _HEADER
    while length := query[position]:
        labels.append(query[position + 1 : position + 1 + length].decode())
        position += 1 + length
    question = query[_HEADER : position + 5]
    (kind,) = struct.unpack("!H", query[position + 1 : position + 3])
    name = ".".join(labels).lower()
    records.queries.append(name)
    addresses = records.addresses.get(name, []) if kind == _A else []
    flags = _RESPONSE if name in records.addresses else _NAME_ERROR
    entries = b"".join(
        struct.pack("!HHHIH", _POINTER_TO_NAME, _A, 1, TTL, 4) + IPv4Address(address).packed
        for address in addresses
    )
    return query[:2] + struct.pack("!HHHHH", flags, 1, len(addresses), 0, 0) + question + entries
