"""Where telemetry is passed on to, as the settings say it. Pure."""

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
    """A collector that takes OTLP over gRPC. `address` is `host:port` as gRPC takes it.

    `private`: what is sent there is read by nobody on the way.
    """

    address: str
    tls: bool
    private: bool = True
    headers: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        """Without the headers, which are secrets."""
        return f"Target({self.address!r}, tls={self.tls})"


def parse_target(text: str) -> ExportTarget:
    """`HOST:PORT` on loopback, `https://HOST:PORT`, or `http://HOST:PORT` in the clear wherever it is.

    Raises InputError naming the setting.
    """
    tls, clear = text.startswith("https://"), text.startswith("http://")
    parts = urlsplit(text if tls or clear else f"//{text}")
    try:
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    bare = not (parts.path.strip("/") or parts.query or parts.fragment or parts.username)
    if not host or not port or not bare or ("://" in text and not (tls or clear)):
        raise InputError(f"{TARGET_SETTING}: {text!r} is no collector: give HOST:PORT or https://HOST:PORT")
    if not (tls or clear or _is_loopback(host)):
        raise InputError(
            f"{TARGET_SETTING}: {text} is not on this host, and would get everything unencrypted: "
            f"give https://{parts.netloc}, or http://{parts.netloc} where the network is your own"
        )
    return ExportTarget(
        f"[{host}]:{port}" if ":" in host else f"{host}:{port}", tls, tls or _is_loopback(host)
    )


def parse_headers(text: str) -> tuple[tuple[str, str], ...]:
    """The lines `name: value` of a file; raises InputError naming the line, never its value."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, value = (one.strip() for one in line.partition(":"))
        name = name.lower()
        bad = not colon or not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value)
        if bad or name.startswith("grpc-") or name.endswith("-bin"):
            raise InputError(f"{HEADERS_SETTING}: line {number} is no header: write `name: value`")
        found.append((name, value))
    return tuple(found)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
