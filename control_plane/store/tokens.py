"""Join token records: the holder of each token, how often it was used, and which tokens are revoked.

The tokens themselves are never stored, only the id (`jti`) of each.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from meshwright.control_plane.errors import NotFoundError
from meshwright.control_plane.store import lua
from meshwright.control_plane.store.lua import RunScript
from meshwright.control_plane.store.revisions import UNREADABLE

RETENTION = 86400
"""Seconds for which an expired token is still listed; longer than two clocks may differ."""


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """One token: `role` and `name` of the holder, times in epoch seconds, `author` who requested it."""

    id: str
    role: str
    name: str
    created: float
    expires: float
    author: str = ""
    uses: int = 0
    revoked: bool = False


class JoinTokenStore:
    """The token records of one mesh. Every method raises StoreError when the store is unavailable."""

    def __init__(self, run: RunScript) -> None:
        self._run = run

    async def record(self, token: TokenRecord) -> None:
        """Store a new token; deletes records that expired more than RETENTION ago."""
        fields = asdict(token)
        text = json.dumps({key: fields[key] for key in ("role", "name", "created", "expires", "author")})
        await self._run(lua.RECORD_TOKEN, token.id, text, round(token.expires * 1000), RETENTION * 1000)

    async def list(self) -> tuple[TokenRecord, ...]:
        """All recorded tokens, newest first. A record that cannot be read is left out."""
        _, _, records, uses, revoked = await self._run(lua.TOKENS)
        counts = dict(zip(uses[::2], uses[1::2], strict=True))
        tokens = []
        for id, text in zip(records[::2], records[1::2], strict=True):
            with contextlib.suppress(*UNREADABLE):
                tokens.append(_parse(id, text, counts.get(id, "0"), revoked=id in revoked))
        return tuple(sorted(tokens, key=lambda token: (-token.created, token.id)))

    async def revoke(self, id: str) -> None:
        """Revoke a token; raises NotFoundError when it is not recorded."""
        _, _, exists = await self._run(lua.REVOKE_TOKEN, id)
        if not exists:
            raise NotFoundError(f"token {id}: not found; see `mesh token list`")

    async def revoked_ids(self) -> frozenset[str]:
        """The ids of the revoked tokens."""
        _, _, ids = await self._run(lua.REVOKED_TOKENS)
        return frozenset(ids)

    async def add_uses(self, uses: Mapping[str, int]) -> None:
        """Count enrolments by token id; skips tokens that are not recorded."""
        await self._run(lua.USE_TOKENS, *(word for pair in uses.items() for word in pair))


def _parse(id: str, text: str, uses: str, *, revoked: bool) -> TokenRecord:
    """A stored record; raises one of UNREADABLE."""
    fields = json.loads(text)
    return TokenRecord(
        id,
        str(fields["role"]),
        str(fields["name"]),
        float(fields["created"]),
        float(fields["expires"]),
        str(fields["author"]),
        uses=int(uses),
        revoked=revoked,
    )
