"""Join tokens on record: whom each is for, how often it was used, and which no longer count.

The tokens themselves are never stored, only the word (`jti`) that names each.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from meshwright.control_plane.errors import NotFoundError
from meshwright.control_plane.store import lua

RETENTION = 86400
"""Seconds for which a token that expired stays listed; longer than two clocks may differ."""

RunScript = Callable[..., Awaitable[list[Any]]]
"""Runs a script whose answer begins with format and newest revision, and checks these (Store)."""


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """One token: `role` and `name` of who may enrol, times in epoch seconds, `author` who had it made."""

    id: str
    role: str
    name: str
    created: float
    expires: float
    author: str = ""
    uses: int = 0
    revoked: bool = False


class JoinTokenStore:
    """The record of one mesh's tokens. Every method raises StoreError when the store is away."""

    def __init__(self, ask: RunScript) -> None:
        self._run = ask

    async def record(self, token: TokenRecord) -> None:
        """Keep a new token; those that expired long ago are forgotten."""
        fields = asdict(token)
        kept = json.dumps({key: fields[key] for key in ("role", "name", "created", "expires", "author")})
        await self._run(lua.RECORD_TOKEN, token.id, kept, round(token.expires * 1000), RETENTION * 1000)

    async def list(self) -> tuple[TokenRecord, ...]:
        """Every token on record, the newest first."""
        _, _, kept, uses, revoked = await self._run(lua.TOKENS)
        counts = dict(zip(uses[::2], map(int, uses[1::2]), strict=True))
        found = (
            TokenRecord(id, **json.loads(text), uses=counts.get(id, 0), revoked=id in revoked)
            for id, text in zip(kept[::2], kept[1::2], strict=True)
        )
        return tuple(sorted(found, key=lambda one: (-one.created, one.id)))

    async def revoke(self, id: str) -> None:
        """Let a token count no more; raises NotFoundError for one that is not on record."""
        _, _, known = await self._run(lua.REVOKE_TOKEN, id)
        if not known:
            raise NotFoundError(f"token {id}: there is none; see `mesh token list`")

    async def revoked_ids(self) -> frozenset[str]:
        """The ids that count no more."""
        _, _, ids = await self._run(lua.REVOKED_TOKENS)
        return frozenset(ids)

    async def add_uses(self, uses: Mapping[str, int]) -> None:
        """Count enrolments, by id; those of tokens that are not on record are left out."""
        await self._run(lua.USE_TOKENS, *(word for pair in uses.items() for word in pair))
