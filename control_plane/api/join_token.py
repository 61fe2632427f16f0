"""What a join token says, read by the agent that was given it.

A token is a JWT signed by the control plane. The agent cannot verify it and need not: it reads which CA to
expect and whom it is for, and the control plane verifies it at enrolment.
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
"""Characters that a token may have; a real one has about 350."""

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class JoinTokenClaims:
    """`identity`: who may enrol; `ca_sha256`: hex hash of the root's DER bytes; `expires`: epoch seconds;
    `id`: the word that names this token where it must not be shown."""

    identity: spiffe.Identity
    ca_sha256: str
    expires: float
    id: str


def parse_claims(payload: Mapping[str, Any]) -> JoinTokenClaims:
    """The claims of a decoded token: iss, sub (`role/name`), exp, jti and ca_sha256; raises ValueError."""
    issuer, subject, expires = (payload.get(name) for name in ("iss", "sub", "exp"))
    ca_sha256 = payload.get("ca_sha256")
    if not isinstance(issuer, str) or not isinstance(subject, str):
        raise ValueError("it names no identity")
    if isinstance(expires, bool) or not isinstance(expires, int | float) or not abs(expires) < 1e12:
        raise ValueError("it has no time of expiry")
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
    """Read a token **without verifying it**; raises ValueError in one line when it is none."""
    if len(text) > TOKEN_LIMIT:
        raise ValueError(f"not a join token: longer than {TOKEN_LIMIT} characters")
    found = _COMPACT.fullmatch(text.strip())
    if not found:
        raise ValueError("not a join token: it has not the form of a JWT")
    body = found[1]
    try:
        payload = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        if not isinstance(payload, dict):
            raise ValueError("its claims are no object")
        return parse_claims(payload)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not a join token: {error}") from None
