"""Access tokens, signed with ES256, and the published key set."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey

from meshwright.services.users.domain import ACCESS_SECONDS, AUDIENCE, ISSUER, SigningKey, User

ALGORITHM = "ES256"


def new_key(now: int) -> SigningKey:
    """A new key; `now` in ms."""
    key = ECKey.generate_key("P-256")
    return SigningKey(secrets.token_hex(8), now, key.as_pem(private=True).decode())


def key_set(keys: Sequence[SigningKey]) -> dict[str, Any]:
    """The public keys as a JWKS."""
    return {"keys": [{**_load(key).as_dict(private=False)} for key in keys]}


def access_token(user: User, session_id: str, key: SigningKey, now: int) -> str:
    """A token of a user's session; `now` in ms."""
    seconds = now // 1000
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": user.id,
        "email": user.email,
        "roles": list(user.roles),
        "sid": session_id,
        "iat": seconds,
        "exp": seconds + ACCESS_SECONDS,
    }
    return jwt.encode({"alg": ALGORITHM, "kid": key.kid}, claims, _load(key))


def new_refresh_token() -> str:
    """A random refresh token."""
    return secrets.token_urlsafe(32)


def digest(refresh_token: str) -> str:
    """What is stored of a refresh token. It is random, so that a plain hash is enough."""
    return hashlib.sha256(refresh_token.encode()).hexdigest()


def _load(key: SigningKey) -> ECKey:
    return ECKey.import_key(key.pem, {"kid": key.kid, "alg": ALGORITHM, "use": "sig"})
