"""Join tokens of a mesh: minted and recorded, listed, revoked, and checked at enrolment.

Revocations are held in memory and follow the store's change stream, so enrolment does not query the store.
They are never removed: a store that lost them does not reactivate a token. Until they have been loaded once
after a start, nothing can enrol (agents retry); during a later outage the last loaded ones apply.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from meshwright.control_plane.api.join_token import JoinTokenClaims, parse_unverified
from meshwright.control_plane.api.models.tokens import NewToken, TokenInfo, TokenRole
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.errors import PermissionDeniedError, StoreError
from meshwright.control_plane.store.tokens import JoinTokenStore, TokenRecord

MintToken = Callable[[Identity, float], str]
"""Signs a token for an identity with a lifetime in seconds; raises InputError."""


class JoinTokens:
    """The tokens of one mesh. `now` gives epoch seconds."""

    def __init__(
        self, store: JoinTokenStore, mint: MintToken, trust_domain: str, now: Callable[[], float]
    ) -> None:
        self._store = store
        self._mint = mint
        self._trust_domain = trust_domain
        self._now = now
        self._revoked: set[str] | None = None
        self._uses: Counter[str] = Counter()

    async def mint(self, role: TokenRole, name: str, ttl: float, author: str) -> NewToken:
        """A new token, returned only once it is recorded; raises InputError, StoreError."""
        token = self._mint(Identity(self._trust_domain, role, name), ttl)
        claims = parse_unverified(token)
        await self._store.record(TokenRecord(claims.id, role, name, self._now(), claims.expires, author))
        return NewToken(token=token, id=claims.id, expires=claims.expires)

    async def list(self) -> tuple[TokenInfo, ...]:
        """All recorded tokens, newest first; raises StoreError."""
        return tuple(
            TokenInfo(
                id=record.id,
                role="gateway" if record.role == "gateway" else "service",
                name=record.name,
                created=record.created,
                expires=record.expires,
                author=record.author,
                uses=record.uses + self._uses[record.id],
                revoked=record.revoked,
            )
            for record in await self._store.list()
        )

    async def revoke(self, id: str) -> None:
        """Revoke a token; raises NotFoundError, StoreError."""
        await self._store.revoke(id)
        if self._revoked is not None:
            self._revoked.add(id)

    # --- enrolment --------------------------------------------------------------------------------

    def check(self, claims: JoinTokenClaims) -> None:
        """Count a use of a token.

        Raises PermissionDeniedError for a revoked token, StoreError until the revocations are loaded.
        """
        if self._revoked is None:
            raise StoreError("the revoked tokens are not loaded yet: try again")
        if claims.id in self._revoked:
            raise PermissionDeniedError(
                f"the join token {claims.id} of {claims.identity.uri} is revoked: mint a new one"
            )
        self._uses[claims.id] += 1

    async def refresh_revocations(self) -> None:
        """Load the revoked ids from the store; raises StoreError."""
        revoked = await self._store.revoked_ids()
        self._revoked = {*(self._revoked or ()), *revoked}

    async def flush_uses(self) -> None:
        """Write the counted uses to the store; after a StoreError they are kept for the next call."""
        uses, self._uses = self._uses, Counter()
        if not uses:
            return
        try:
            await self._store.add_uses(uses)
        except StoreError:
            self._uses += uses
            raise
