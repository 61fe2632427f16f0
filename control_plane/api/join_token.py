"""The claims of a join token, as its holder reads them.

A join token is a JWT signed by the control plane. An agent cannot verify it and need not: it reads which CA
to expect and which identity the token is for, and the control plane verifies the token at enrolment.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from meshwright.control_plane.api import spiffe

TOKEN_LIMIT = 4096
"""Characters of a token; a real one has about 350."""

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class JoinTokenClaims:
    """`identity` may enrol. `ca_sha256`: hex hash of the root's DER bytes. `expires`: epoch seconds.

    `id` names the token where the token itself must not be shown.
    """

    identity: spiffe.Identity
    ca_sha256: str
    expires: float
    id: str


def parse_claims(payload: Mapping[str, Any]) -> JoinTokenClaims:
    """The claims of a decoded token: iss, sub (`role/name`), exp, jti and ca_sha256; raises ValueError."""
    issuer, subject, expires = (payload.get(name) for name in ("iss", "sub", "exp"))
    ca_sha256 = payload.get("ca_sha256")
    if not isinstance(issuer, str) or not isinstance(subject, str):
        raise ValueError("it has no identity")
    if isinstance(expires, bool) or not isinstance(expires, int | float) or not abs(expires) < 1e12:
        raise ValueError("it has no expiry time")
    if not isinstance(ca_sha256, str) or not _SHA256.fullmatch(ca_sha256):
        raise ValueError("it names no CA")
    id = payload.get("jti")
    if not isinstance(id, str) or not _ID.fullmatch(id):
        raise ValueError("it has no id")
    identity = spiffe.parse(f"spiffe://{issuer}/{subject}")
    if identity.role == "control-plane":
        raise ValueError("a join token is for a service or a gateway")
    return JoinTokenClaims(identity, ca_sha256, float(expires), id)


def parse_unverified(text: str) -> JoinTokenClaims:
    """The claims of a token, **not verified**; raises ValueError with one line if it is not a join token."""
    if len(text) > TOKEN_LIMIT:
        raise ValueError(f"not a join token: longer than {TOKEN_LIMIT} characters")
    match = _COMPACT.fullmatch(text.strip())
    if not match:
        raise ValueError("not a join token: it is not a JWT")
    body = match[1]
    try:
        payload = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        if not isinstance(payload, dict):
            raise ValueError("its claims are not an object")
        return parse_claims(payload)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not a join token: {error}") from None
