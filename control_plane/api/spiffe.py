"""SPIFFE identities of the mesh: who a certificate speaks for.

The form is `spiffe://<trust domain>/<role>/<name>` for services and gateways, and
`spiffe://<trust domain>/control-plane` for the control plane (SPIFFE-ID section 2).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Role = Literal["service", "gateway", "control-plane"]

# A DNS label (RFC 1123 section 2.1): names become host names, so both obey the same rule.
NAME_PATTERN = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_NAME = re.compile(NAME_PATTERN)
_URI = re.compile(r"spiffe://([a-z0-9._-]{1,255})/(?:(service|gateway)/([^/]+)|control-plane)")

CONTROL_PLANE_DNS = "control-plane.mesh"
"""The DNS name in the control plane's certificate, for TLS clients that cannot match a URI."""


@dataclass(frozen=True, slots=True)
class Identity:
    """One identity. `name` is empty for the control plane."""

    trust_domain: str
    role: Role
    name: str = ""

    @property
    def uri(self) -> str:
        """The SPIFFE ID as it stands in a certificate's URI SAN."""
        tail = self.role if self.role == "control-plane" else f"{self.role}/{self.name}"
        return f"spiffe://{self.trust_domain}/{tail}"


def valid_name(name: str) -> bool:
    """Whether `name` may name a service, gateway or policy."""
    return _NAME.fullmatch(name) is not None


def parse(uri: str) -> Identity:
    """Read a SPIFFE ID; raises ValueError when it is none of this mesh's forms."""
    found = _URI.fullmatch(uri)
    if not found:
        raise ValueError(f"not a SPIFFE ID of a mesh: {uri!r}")
    domain, role, name = found.groups()
    if role is None:
        return Identity(domain, "control-plane")
    if not valid_name(name):
        raise ValueError(f"not a name: {name!r}")
    return Identity(domain, "gateway" if role == "gateway" else "service", name)
