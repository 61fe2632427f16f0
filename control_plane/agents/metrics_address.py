"""Where Prometheus may scrape a node: only at the node's own address, whatever its report says. Pure."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import unquote


def own_metrics_address(reported: str, peer: str, registered: str = "") -> str:
    """The reported `host:port`, if the host is the node's own address; else empty.

    `peer` is gRPC's name of the connection, such as `ipv4:10.0.0.7:41000`; `registered` the address where
    the node's instance is registered. An address that is local to a link, such as that of a cloud's metadata
    service, is nobody's own.
    """
    host, _, port = reported.rpartition(":")
    address = _address(host.strip("[]"))
    if address is None or not port:
        return ""
    accepted = {_address(_peer_host(peer)), _address(registered)}
    return reported if address in accepted else ""


def _peer_host(peer: str) -> str:
    kind, _, rest = peer.partition(":")
    host = rest.rpartition(":")[0] if kind in ("ipv4", "ipv6") else ""
    return unquote(host).strip("[]")


def _address(text: str) -> str | None:
    """An address in its usual form; None for anything else, and for one that names no node."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None) or address
    is_usable = not (mapped.is_link_local or mapped.is_unspecified or mapped.is_multicast)
    return str(mapped) if is_usable else None
