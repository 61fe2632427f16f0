"""Who sends a request: the gateway verifies the access token and passes its claims on as headers.

Only the gateway can set these headers: it removes what a client sends under their names.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType

from meshwright.services.kit.ids import ID_PATTERN

USER, EMAIL, ROLES, SESSION = "x-user-id", "x-user-email", "x-user-roles", "x-session-id"
"""Headers of the claims sub, email, roles and sid. A list arrives as base64url of its JSON."""

STAFF = frozenset({"support", "admin"})
"""Roles that see everybody's data."""

ADMIN = frozenset({"admin"})
"""The role that changes what belongs to all."""

NOBODY: Mapping[str, str] = MappingProxyType({})
headers_of_caller: ContextVar[Mapping[str, str]] = ContextVar("headers_of_caller", default=NOBODY)
"""The headers of who sent the request that is being served, for the calls that it makes."""


@dataclass(frozen=True, slots=True)
class Requester:
    """A person with a valid access token."""

    user_id: str
    email: str = ""
    roles: frozenset[str] = frozenset()
    session_id: str = ""

    @property
    def is_staff(self) -> bool:
        """Whether the person sees everybody's data."""
        return bool(STAFF & self.roles)

    def may_read(self, user_id: str) -> bool:
        """Whether the person may see a user's data: their own, or as staff everybody's."""
        return self.user_id == user_id or self.is_staff


def read_caller(headers: Mapping[str, str]) -> Requester | None:
    """The person who sends a request with these headers; None for a request without a token."""
    user_id = headers.get(USER, "")
    if not re.fullmatch(ID_PATTERN, user_id):
        return None
    return Requester(
        user_id, headers.get(EMAIL, ""), _roles(headers.get(ROLES, "")), headers.get(SESSION, "")
    )


def caller_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that say who sends a request."""
    return {name: headers[name] for name in (USER, EMAIL, ROLES, SESSION) if name in headers}


def _roles(encoded: str) -> frozenset[str]:
    """No roles if the header cannot be read."""
    try:
        roles = json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except (binascii.Error, ValueError):
        return frozenset()
    return (
        frozenset(role for role in roles if isinstance(role, str)) if isinstance(roles, list) else frozenset()
    )
