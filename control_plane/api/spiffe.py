"""SPIFFE identities of the mesh.

The form is `spiffe://<trust domain>/<role>/<name>` for services and gateways, and
`spiffe://<trust domain>/control-plane` for the control plane (SPIFFE-ID section 2).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from meshwright.control_plane.errors import PermissionDeniedError

Role = Literal["service", "gateway", "control-plane"]

# A DNS label (RFC 1123 section 2.1): names become host names.
NAME_PATTERN = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_NAME = re.compile(NAME_PATTERN)
_URI = re.compile(r"spiffe://([a-z0-9._-]{1,255})/(?:(service|gateway)/([^/]+)|control-plane)")

CONTROL_PLANE_DNS = "control-plane.mesh"
"""The DNS name in the control plane's certificate, for TLS clients that cannot match a URI."""

_PEER_SPIFFE_ID = "peer_spiffe_id"
# gRPC sets it to the URI SAN of a verified certificate that has exactly one, if that is a SPIFFE ID
# (grpc's src/core/lib/security/security_connector/ssl_utils.cc).


@dataclass(frozen=True, slots=True)
class Identity:
    """One identity. `name` is empty for the control plane."""

    trust_domain: str
    role: Role
    name: str = ""

    @property
    def uri(self) -> str:
        """The SPIFFE ID, as in a certificate's URI SAN."""
        path = self.role if self.role == "control-plane" else f"{self.role}/{self.name}"
        return f"spiffe://{self.trust_domain}/{path}"


def valid_name(name: str) -> bool:
    """Whether `name` is a valid name of a service, gateway or policy."""
    return _NAME.fullmatch(name) is not None


def parse(uri: str) -> Identity:
    """Parse a SPIFFE ID; raises ValueError unless it has one of the mesh's forms."""
    match = _URI.fullmatch(uri)
    if not match:
        raise ValueError(f"not a SPIFFE ID of a mesh: {uri!r}")
    domain, role, name = match.groups()
    if role is None:
        return Identity(domain, "control-plane")
    if not valid_name(name):
        raise ValueError(f"not a valid name: {name!r}")
    return Identity(domain, "gateway" if role == "gateway" else "service", name)


def identity_from_auth_context(auth_context: Mapping[str, Iterable[bytes]], trust_domain: str) -> Identity:
    """The identity in the peer's verified certificate.

    `auth_context` is what `grpc.ServicerContext.auth_context()` returns. Raises PermissionDeniedError if
    there is no SPIFFE ID, more than one, or one of another trust domain.
    """
    uris = list(auth_context.get(_PEER_SPIFFE_ID, ()))
    if len(uris) != 1:
        raise PermissionDeniedError(
            "the certificate has no single SPIFFE ID: enrol this workload with the mesh"
        )
    try:
        identity = parse(uris[0].decode())
    except ValueError as error:
        raise PermissionDeniedError(f"the certificate's identity is invalid: {error}") from None
    if identity.trust_domain != trust_domain:
        raise PermissionDeniedError(f"{identity.uri} is not in the trust domain {trust_domain}")
    return identity
