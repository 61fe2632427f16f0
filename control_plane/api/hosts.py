"""Which addresses a node may state as its own. Pure."""

from __future__ import annotations

import re
from ipaddress import ip_address

_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_][-A-Za-z0-9_]{0,62}(\.[A-Za-z0-9_][-A-Za-z0-9_]{0,62})*\.?")
"""A host name (RFC 1123 section 2.1), with the underscores of container names."""

_BROADCAST = "255.255.255.255"


def is_ip(text: str) -> bool:
    """Whether `text` is an IP address, of either version."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def reachable_ip(text: str) -> str:
    """The canonical form of an IP address that another node can connect to; raises ValueError.

    Envoy resolves no names in endpoints, and for one that is not an IP address it rejects all endpoints of
    the service (`malformed IP address`). Unspecified, multicast and scoped addresses mean nothing elsewhere.
    """
    try:
        address = ip_address(text)
    except ValueError:
        raise ValueError(f"{text[:63]!r} is not an IP address") from None
    if address.is_unspecified or address.is_multicast or "%" in text or text == _BROADCAST:
        raise ValueError(f"{text[:63]!r} is not an address that other nodes can connect to")
    return str(address)


def valid_host(text: str) -> str:
    """`text`, if it is a host name or an IP address that other nodes can connect to; raises ValueError."""
    if is_ip(text):
        return reachable_ip(text)
    if _HOST.fullmatch(text) and not text.replace(".", "").isdigit():
        return text
    raise ValueError(f"{text[:63]!r} is not an IP address or host name")
