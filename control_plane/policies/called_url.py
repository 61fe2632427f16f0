"""URLs that proxies call on behalf of a policy: of a service of the mesh, or of a host outside of it."""

from __future__ import annotations

import re
from collections.abc import Container
from ipaddress import ip_address
from typing import Annotated, NamedTuple

from pydantic import Field, StringConstraints

from meshwright.control_plane.api.host_suffixes import DOMAIN, Domains, service_in
from meshwright.control_plane.api.hosts import is_ip

MAX_PEM_BYTES = 256 * 1024

MAX_PORT = 65535

URL = Annotated[str, StringConstraints(min_length=1, max_length=2048, pattern=r"^[!-~]+$")]

CAPem = Annotated[
    str,
    StringConstraints(max_length=MAX_PEM_BYTES),
    Field(
        description="PEM certificates that an https host must chain to. Empty: those of the proxy's host in "
        "/etc/ssl/certs/ca-certificates.crt.",
    ),
]


class CalledURL(NamedTuple):
    """The parts of a URL. `host` is without brackets; `path` has the query.

    `mesh`: the host is one of the mesh, if it is in one of its domains (see `misplaced`), else nobody's.
    """

    scheme: str
    host: str
    port: int
    mesh: bool
    path: str

    @property
    def authority(self) -> str:
        """The host as the mesh names it: with the port only if it is not the scheme's own."""
        return self.host if self.port == _PORTS[self.scheme] else f"{self.host}:{self.port}"

    def misplaced(self, services: Container[str], domains: Domains) -> str:
        """Why the scheme does not fit the host, in a mesh of these services and domains; empty: it fits."""
        service = service_in(self.host, domains)
        if self.mesh and "." in self.host and service == self.host:
            names = " or ".join(f"http://NAME.{domain}" for domain in domains)
            return f"{_needs_https(self.host)}; a service of the mesh is {names} (MESH_DOMAINS)"
        if not self.mesh and service != self.host and service in services:
            return _needs_http(self.host)
        return ""


_PORTS = {"http": 80, "https": 443}
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9._-]*)(:(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[^#\s]*)?"
)


def parse_url(url: str) -> CalledURL:
    """The parts of a URL; raises ValueError, with advice, for one that a policy cannot rely on."""
    match = _URL.fullmatch(url)
    if match is None or not 1 <= int(match["port"] or 1) <= MAX_PORT:
        raise ValueError(
            f"{url!r} is not a URL with http or https and a host, without a user and a fragment: "
            "write it like https://id.example.com/path"
        )
    scheme, host = match["scheme"], match["host"].strip("[]").removesuffix(".").lower()
    is_name = not is_ip(host) and host != "localhost"
    if scheme == "https" and is_name and ("." not in host or host.endswith(f".{DOMAIN}")):
        raise ValueError(_needs_http(host))
    if scheme == "http" and not is_name and not _is_loopback(host):
        raise ValueError(_needs_https(host))
    mesh = scheme == "http" and is_name
    return CalledURL(scheme, host, int(match["port"] or _PORTS[scheme]), mesh, match["path"] or "")


def check_ca(ca: str, url: str) -> None:
    """Raise ValueError for certificates that are none, or that no connection to `url` would use."""
    if ca and not url.startswith("https://"):
        raise ValueError("ca has no effect without an https url: leave it out")
    if ca and "-----BEGIN CERTIFICATE-----" not in ca:
        raise ValueError("ca holds no PEM certificate")


def _needs_http(host: str) -> str:
    return f"{host} is a service of the mesh, which encrypts by itself: write http://"


def _needs_https(host: str) -> str:
    return (
        f"{host} is outside the mesh and needs https://: whoever can change its answers decides who is let in"
    )


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (is_ip(host) and ip_address(host).is_loopback)
