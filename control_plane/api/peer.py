"""Who is at the other end of an mTLS connection, from what gRPC's TLS layer vouches for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from meshwright.control_plane.api import spiffe
from meshwright.control_plane.errors import PermissionDeniedError

_SPIFFE_ID = "peer_spiffe_id"
# What gRPC derives from the URI SAN of a verified certificate, when it has exactly one that is a SPIFFE ID
# (grpc's src/core/lib/security/security_connector/ssl_utils.cc).


def identity_from_auth_context(
    auth_context: Mapping[str, Iterable[bytes]], trust_domain: str
) -> spiffe.Identity:
    """The identity in the caller's verified certificate.

    `auth_context` is what `grpc.ServicerContext.auth_context()` returns. Raises RefusedError when there is no
    SPIFFE ID, more than one, or one of another trust domain.
    """
    uris = list(auth_context.get(_SPIFFE_ID, ()))
    if len(uris) != 1:
        raise PermissionDeniedError(
            "the certificate names no single SPIFFE ID: enrol this workload with the mesh"
        )
    try:
        identity = spiffe.parse(uris[0].decode())
    except ValueError as error:
        raise PermissionDeniedError(f"the certificate's identity is refused: {error}") from None
    if identity.trust_domain != trust_domain:
        raise PermissionDeniedError(f"{identity.uri} is of another trust domain than {trust_domain}")
    return identity
