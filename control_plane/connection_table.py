"""Which connection makes room for a new one: a limit that peers share, so that none of them locks others out.

A peer that opens connections and is silent fills any limit. So a full table does not refuse the next peer:
the peer with the most connections loses the one that has been open longest, unless that one is being served.
A client that sends its request at once is served even while another holds every place. Pure.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import Generic, TypeVar

IPV6_PREFIX = 64
"""Bits of an IPv6 address that tell peers apart: a host has the rest to itself (RFC 6177)."""

ConnectionT = TypeVar("ConnectionT")


class ConnectionTable(Generic[ConnectionT]):
    """The open connections of a listener, by peer, the oldest first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._peers: dict[str, dict[ConnectionT, bool]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, peer: str, connection: ConnectionT) -> ConnectionT | None:
        """Add a connection; returns the one to close in its place, which may be the new one itself."""
        self._peers.setdefault(peer, {})[connection] = False
        self._count += 1
        if self._count <= self._limit:
            return None
        return self.oldest() or connection

    def remove(self, peer: str, connection: ConnectionT) -> None:
        """Remove a connection, if it is here."""
        connections = self._peers.get(peer, {})
        if connection in connections:
            del connections[connection]
            self._count -= 1
        if peer in self._peers and not connections:
            del self._peers[peer]

    def set_busy(self, peer: str, connection: ConnectionT, *, busy: bool) -> None:
        """Whether a request of the connection is being served: it is then not closed for another's sake."""
        if connection in self._peers.get(peer, {}):
            self._peers[peer][connection] = busy

    def oldest(self) -> ConnectionT | None:
        """The connection that makes room: the oldest one that is not busy, of the peer with the most."""
        for connections in sorted(self._peers.values(), key=len, reverse=True):
            for connection, busy in connections.items():
                if not busy:
                    return connection
        return None


def peer_of(address: str) -> str:
    """The key of a peer in the table: an IPv4 address, or the network of an IPv6 one."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    network = int(parsed) >> (128 - IPV6_PREFIX) << (128 - IPV6_PREFIX)
    return f"{IPv6Address(network)}/{IPV6_PREFIX}"
