"""Which filter chain of a listener takes a connection, as Envoy decides it: the most specific match. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from meshwright.control_plane.core.hostnames import covers, precedence
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.explain.resources import unpacked


@dataclass(frozen=True, slots=True)
class DownstreamConnection:
    """A connection before it is made: from where, and whether it begins with TLS for a host name."""

    address: str = "127.0.0.1"
    tls: bool = False
    sni: str = ""


def chain_for(listener: v3.Listener, connection: DownstreamConnection) -> v3.FilterChain | None:
    """The filter chain that takes the connection; None: the listener closes it."""
    chains = [chain for chain in listener.filter_chains if _takes(chain.filter_chain_match, connection)]
    return min(chains, key=lambda chain: _precedence(chain.filter_chain_match), default=None)


def manager_of(chain: v3.FilterChain) -> v3.HttpConnectionManager | None:
    """The HTTP connection manager of a chain; None: it carries connections."""
    configs = (unpacked(item.typed_config) for item in chain.filters)
    return next((item for item in configs if isinstance(item, v3.HttpConnectionManager)), None)


def _takes(match: v3.FilterChainMatch, connection: DownstreamConnection) -> bool:
    transport = "tls" if connection.tls else "raw_buffer"
    names, networks = match.server_names, match.direct_source_prefix_ranges
    return (
        match.transport_protocol in ("", transport)
        and (not names or any(covers(name, connection.sni) for name in names))
        and (not networks or any(is_in(network, connection.address) for network in networks))
    )


def _precedence(match: v3.FilterChainMatch) -> tuple[tuple[bool, int], bool, int]:
    """Envoy compares host names first, then the transport, then networks."""
    name = min((precedence(name) for name in match.server_names), default=precedence(""))
    length = max((item.prefix_len.value for item in match.direct_source_prefix_ranges), default=-1)
    return name, not match.transport_protocol, -length


def is_in(cidr: v3.CidrRange, address: str) -> bool:
    """Whether an address belongs to a network."""
    return ip_address(address) in ip_network(f"{cidr.address_prefix}/{cidr.prefix_len.value}")
