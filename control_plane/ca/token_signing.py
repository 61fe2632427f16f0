"""Join tokens: each lets one service or gateway enrol until it expires.

A token is a JWT, HS256 (RFC 7518 section 3.2) with a key that only the control plane has: who verifies is who
signs, so nothing is gained by a key pair. It is no single-use ticket: replicas of a service share it, and an
agent enrols again with it after a restart.
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
"""Seconds that a token may live: who needs one longer can have another."""

_ALGORITHM = "HS256"


def mint(key: bytes, identity: spiffe.Identity, ca_sha256: str, now: float, *, ttl: float, jti: str) -> str:
    """A token for `identity`, good for `ttl` seconds (above 0, at most TTL_LIMIT) from `now` (epoch seconds).

    `jti` is a unique word of the caller's that names this token in logs. Raises InputError.
    """
    if identity.role == "control-plane":
        raise InputError("a join token is for a service or a gateway, not for the control plane")
    if not 0 < ttl <= TTL_LIMIT:
        raise InputError(
            f"a join token cannot live {ttl:g} s: give more than 0 and at most {TTL_LIMIT:g} (30 days)"
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
    """What `text` says, and so whom it lets enrol at `now`; raises RefusedError that says whether it is too
    long, malformed, of another key, or expired.
    """
    if len(text) > join_token.TOKEN_LIMIT:
        raise PermissionDeniedError(
            f"the join token is too long: more than {join_token.TOKEN_LIMIT} characters"
        )
    try:
        token = jwt.decode(text, OctKey.import_key(key), algorithms=[_ALGORITHM])
        claims = join_token.parse_claims(token.claims)
    except BadSignatureError:
        raise PermissionDeniedError("the join token's signature is not of this mesh: mint one here") from None
    except (JoseError, ValueError, TypeError, KeyError, RecursionError):
        raise PermissionDeniedError(
            "the join token is malformed: give the text of the file as it was minted"
        ) from None
    if now >= claims.expires:
        raise PermissionDeniedError(f"the join token of {claims.identity.uri} has expired: mint a new one")
    return claims
