"""Signs and verifies join tokens. A token lets one service or gateway enrol until it expires.

A token is a JWT, signed with HS256 (RFC 7518 section 3.2) and a key that only the control plane has. The
control plane both signs and verifies, so a key pair would gain nothing. Tokens are not single-use: replicas
of a service share one, and an agent enrols again with it after a restart.
"""

from __future__ import annotations

import math

from joserfc import jwt
from joserfc.errors import BadSignatureError, JoseError
from joserfc.jwk import OctKey

from meshwright.control_plane.api import join_token, spiffe
from meshwright.control_plane.errors import InputError, PermissionDeniedError

KEY_BYTES = 32
"""Length of the signing key: as long as the hash (RFC 7518 section 3.2)."""

TTL_LIMIT = 30 * 86400.0
"""Seconds. Mint another token for longer use."""

_ALGORITHM = "HS256"


def mint(key: bytes, identity: spiffe.Identity, ca_sha256: str, now: float, *, ttl: float, jti: str) -> str:
    """A token for `identity`, valid for `ttl` seconds (at most TTL_LIMIT) from `now` (epoch seconds).

    `jti` is a unique id that names this token in logs. Raises InputError.
    """
    if identity.role == "control-plane":
        raise InputError("a join token is for a service or a gateway, not for the control plane")
    if not 0 < ttl <= TTL_LIMIT:
        raise InputError(
            f"a join token cannot be valid for {ttl:g} s: use more than 0 and at most {TTL_LIMIT:g} (30 days)"
        )
    claims = {
        "iss": identity.trust_domain,
        "sub": f"{identity.role}/{identity.name}",
        "iat": math.floor(now),
        "exp": math.ceil(now + ttl),
        "jti": jti,
        "ca_sha256": ca_sha256,
    }
    return jwt.encode({"alg": _ALGORITHM}, claims, OctKey.import_key(key))


def verify(key: bytes, text: str, now: float) -> join_token.JoinTokenClaims:
    """The claims of a token that is valid at `now`.

    Raises PermissionDeniedError when it is too long, malformed, signed with another key, or expired.
    """
    if len(text) > join_token.TOKEN_LIMIT:
        raise PermissionDeniedError(
            f"the join token is too long: more than {join_token.TOKEN_LIMIT} characters"
        )
    try:
        token = jwt.decode(text, OctKey.import_key(key), algorithms=[_ALGORITHM])
        claims = join_token.parse_claims(token.claims)
    except BadSignatureError:
        raise PermissionDeniedError(
            "the join token's signature is invalid: mint the token in this mesh"
        ) from None
    except (JoseError, ValueError, TypeError, KeyError, RecursionError):
        raise PermissionDeniedError(
            "the join token is malformed: use the text exactly as it was minted"
        ) from None
    if now >= claims.expires:
        raise PermissionDeniedError(f"the join token of {claims.identity.uri} has expired: mint a new one")
    return claims
