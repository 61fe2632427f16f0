"""The collector that telemetry is exported to, parsed from the settings."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from meshwright.control_plane.errors import InputError

TARGET_SETTING = "MESH_OTLP_FORWARD"
HEADERS_SETTING = "MESH_OTLP_FORWARD_HEADERS_FILE"

_HEADER_NAME = re.compile(r"[a-z0-9_.-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]+")


@dataclass(frozen=True, slots=True)
class ExportTarget:
    """An OTLP/gRPC collector. `address` is gRPC's `host:port`; `private`: nobody can read the connection."""

    address: str
    tls: bool
    private: bool = True
    headers: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        """Without the headers, which are secrets."""
        return f"ExportTarget({self.address!r}, tls={self.tls})"


def parse_target(text: str) -> ExportTarget:
    """Parse `HOST:PORT` on loopback, `https://HOST:PORT`, or `http://HOST:PORT` for plaintext to any host.

    Raises InputError with the name of the setting.
    """
    tls, plaintext = text.startswith("https://"), text.startswith("http://")
    parts = urlsplit(text if tls or plaintext else f"//{text}")
    try:
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    has_more = bool(parts.path.strip("/") or parts.query or parts.fragment or parts.username)
    if not host or not port or has_more or ("://" in text and not (tls or plaintext)):
        raise InputError(
            f"{TARGET_SETTING}: {text!r} is not a collector address: use HOST:PORT or https://HOST:PORT"
        )
    if not (tls or plaintext or _is_loopback(host)):
        raise InputError(
            f"{TARGET_SETTING}: {text} is not on this host, and telemetry would be sent unencrypted: "
            f"use https://{parts.netloc}, or http://{parts.netloc} on a private network"
        )
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return ExportTarget(address, tls, tls or _is_loopback(host))


def parse_headers(text: str) -> tuple[tuple[str, str], ...]:
    """Parse a file with lines `name: value`. Raises InputError with the line's number, never its value."""
    headers = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, value = (part.strip() for part in line.partition(":"))
        name = name.lower()
        is_invalid = not colon or not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value)
        if is_invalid or name.startswith("grpc-") or name.endswith("-bin"):
            raise InputError(f"{HEADERS_SETTING}: line {number} is not a header: write `name: value`")
        headers.append((name, value))
    return tuple(headers)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
