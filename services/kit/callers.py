"""Who sends a request: the gateway verifies the access token and passes its claims on as headers.

Only the gateway can set these headers: it removes what a client sends under their names.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass

USER, EMAIL, ROLES, SESSION = "x-user-id", "x-user-email", "x-user-roles", "x-session-id"
"""Headers of the claims sub, email, roles and sid. A list arrives as base64url of its JSON."""


@dataclass(frozen=True, slots=True)
class Requester:
    """A person with a valid access token."""

    user_id: str
    email: str = ""
    roles: frozenset[str] = frozenset()
    session_id: str = ""


def read_caller(headers: Mapping[str, str]) -> Requester | None:
    """The person who sends a request with these headers; None for a request without a token."""
    if not (user_id := headers.get(USER, "")):
        return None
    return Requester(
        user_id, headers.get(EMAIL, ""), _roles(headers.get(ROLES, "")), headers.get(SESSION, "")
    )


def _roles(encoded: str) -> frozenset[str]:
    """No roles if the header cannot be read."""
    try:
        roles = json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except (binascii.Error, ValueError):
        return frozenset()
    return (
        frozenset(role for role in roles if isinstance(role, str)) if isinstance(roles, list) else frozenset()
    )
