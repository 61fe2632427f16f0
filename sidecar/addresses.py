"""Formats and parses `host:port` addresses. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit


def format_address(host: str, port: int) -> str:
    """`host:port`, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_address(address: str) -> tuple[str, int]:
    """The two parts of `ip:port`; an IPv6 address is in brackets, as format_address writes it."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def split_host_port(address: str, default_port: int) -> tuple[str, int]:
    """Parse `host`, `host:port` or `https://host:port`. Raises ValueError."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    if not parts.hostname:
        raise ValueError(f"not an address: {address!r}")
    return parts.hostname, parts.port or default_port
