"""Rules of users: roles, tokens' lifetimes, when signing keys change, who may change a user. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

Role = Literal["customer", "support", "admin"]
ISSUER = "https://users.exchange.example"
AUDIENCE = "exchange"

ACCESS_SECONDS = 300
"""Lifetime of an access token. For so long other services accept one whose session has ended."""

SESSION_SECONDS = 30 * 86_400
"""Lifetime of a session. Each refresh replaces the refresh token, not the session."""

KEY_SECONDS = 30 * 86_400
"""Seconds after which a new key is made."""

PUBLISH_SECONDS = 15 * 60
"""Seconds for which a new key is published before it signs: thrice as long as proxies keep the key set."""

RETIRE_SECONDS = 3600
"""Seconds for which a replaced key stays published: longer than any token that it has signed."""


@dataclass(frozen=True, slots=True)
class User:
    """A person. `created` is in ms since the epoch."""

    id: str
    email: str
    name: str
    roles: tuple[Role, ...]
    created: int


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key by its id. `created` is in ms since the epoch; `pem` is the private key."""

    kid: str
    created: int
    pem: str

    def __repr__(self) -> str:
        """Without the key."""
        return f"SigningKey({self.kid!r})"


def normal_email(email: str) -> str:
    """The form by which addresses are compared."""
    return email.strip().lower()


def signing_key(keys: Sequence[SigningKey], now: int) -> SigningKey:
    """The key that signs at `now`: the newest that every proxy knows, else the oldest. Needs one key."""
    published_keys = [key for key in keys if key.created <= now - 1000 * PUBLISH_SECONDS]
    if published_keys:
        return max(published_keys, key=lambda key: (key.created, key.kid))
    return min(keys, key=lambda key: (key.created, key.kid))


def needs_key(keys: Sequence[SigningKey], now: int) -> bool:
    """Whether it is time to make a new key."""
    return all(key.created <= now - 1000 * KEY_SECONDS for key in keys)


def retired_keys(keys: Sequence[SigningKey], now: int) -> list[SigningKey]:
    """Keys that no valid token can be signed with any more."""
    if not keys:
        return []
    current = signing_key(keys, now)
    is_settled = current.created <= now - 1000 * (PUBLISH_SECONDS + RETIRE_SECONDS)
    return [key for key in keys if is_settled and key.created < current.created]


def may_change(caller_id: str, caller_roles: Collection[str], user_id: str) -> bool:
    """Whether a caller may change or erase a user's data."""
    return caller_id == user_id or "admin" in caller_roles
