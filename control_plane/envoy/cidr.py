"""Networks as Envoy has them, in the same bytes by every Python: 3.13 writes ::ffff:7f00:1 otherwise."""

from __future__ import annotations

import socket
from ipaddress import ip_network

from meshwright.control_plane.envoy import v3

IPV4_BYTES = 4


def cidr_range(text: str) -> v3.CidrRange:
    """A network or address such as 10.0.0.0/8; raises ValueError."""
    network = ip_network(text)
    packed = network.network_address.packed
    prefix = socket.inet_ntop(socket.AF_INET if len(packed) == IPV4_BYTES else socket.AF_INET6, packed)
    return v3.CidrRange(address_prefix=prefix, prefix_len=v3.UInt32Value(value=network.prefixlen))
