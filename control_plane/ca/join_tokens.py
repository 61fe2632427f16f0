"""Join tokens at work: minted on record, listed, revoked, and held against what is revoked at enrolment.

Revocations are kept in memory and follow the store's change stream, so that enrolment asks no store. They
are only ever added to: a store that forgot them does not bring a token back. Until they were read once after
a start, nobody enrols (agents try again); while the store is away later, those known last count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from meshwright.control_plane.admin.context import TokenRole
from meshwright.control_plane.api.join_token import JoinTokenClaims, parse_unverified
from meshwright.control_plane.api.models.policies import NewToken, TokenInfo
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.errors import PermissionDeniedError, StoreError
from meshwright.control_plane.store.tokens import JoinTokenStore, TokenRecord

MintToken = Callable[[Identity, float], str]
"""A token for an identity, good for so many seconds; raises InputError."""


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
        """A new token, handed out only once it is on record; raises InputError, StoreError."""
        token = self._mint(Identity(self._trust_domain, role, name), ttl)
        claims = parse_unverified(token)
        await self._store.record(TokenRecord(claims.id, role, name, self._now(), claims.expires, author))
        return NewToken(token=token, id=claims.id, expires=claims.expires)

    async def list(self) -> tuple[TokenInfo, ...]:
        """Every token on record, the newest first; raises StoreError."""
        return tuple(
            TokenInfo(
                id=one.id,
                role="gateway" if one.role == "gateway" else "service",
                name=one.name,
                created=one.created,
                expires=one.expires,
                author=one.author,
                uses=one.uses + self._uses[one.id],
                revoked=one.revoked,
            )
            for one in await self._store.list()
        )

    async def revoke(self, id: str) -> None:
        """Refuse a token from now on; raises NotFoundError, StoreError."""
        await self._store.revoke(id)
        if self._revoked is not None:
            self._revoked.add(id)

    # --- enrolment --------------------------------------------------------------------------------

    def check(self, claims: JoinTokenClaims) -> None:
        """Count a use; raises RefusedError for a revoked token, StoreError before revocations were read."""
        if self._revoked is None:
            raise StoreError("the store has not told yet which tokens are revoked: try again")
        if claims.id in self._revoked:
            raise PermissionDeniedError(
                f"the join token {claims.id} of {claims.identity.uri} is revoked: mint a new one"
            )
        self._uses[claims.id] += 1

    async def refresh_revocations(self) -> None:
        """Learn what is revoked now; raises StoreError."""
        found = await self._store.revoked_ids()
        self._revoked = {*(self._revoked or ()), *found}

    async def flush_uses(self) -> None:
        """Put what was counted on record; raises StoreError, and then keeps it for the next time."""
        counted, self._uses = self._uses, Counter()
        if not counted:
            return
        try:
            await self._store.add_uses(counted)
        except StoreError:
            self._uses += counted
            raise
