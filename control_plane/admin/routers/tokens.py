"""Routes of join tokens: create, list, revoke. The token itself is returned only when it is created."""

from __future__ import annotations

from typing import Protocol

from pydantic import Field

from meshwright.control_plane.admin.route import NoBody, NoParams, RequestParams, Route
from meshwright.control_plane.api.models.tokens import (
    NewToken,
    RevokedToken,
    TokenInfo,
    TokenList,
    TokenRequest,
    TokenRole,
)
from meshwright.control_plane.errors import InputError


class TokenParams(RequestParams):
    id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="The token's id, as in `mesh token list`.")


class TokenRegistry(Protocol):
    """The mesh's join tokens. Every method raises StoreError if the store is unavailable."""

    async def mint(self, role: TokenRole, name: str, ttl: float, author: str) -> NewToken:
        """Create and record a token that is valid for `ttl` seconds; raises InputError."""

    async def list(self) -> tuple[TokenInfo, ...]:
        """Every token on record, newest first."""

    async def revoke(self, id: str) -> None:
        """Revoke a token; raises NotFoundError if it is not on record."""


class TokensRouter:
    """`/tokens` and `/tokens/{id}/revoke`."""

    def __init__(self, tokens: TokenRegistry) -> None:
        self._tokens = tokens

    def routes(self) -> tuple[Route, ...]:
        """Its routes."""
        return (
            Route("GET", "/tokens", "tokens", "Join tokens", self.list, TokenList, errors=(503,)),
            Route(
                "POST", "/tokens", "create_token", "Create a join token", self.create, NewToken,
                body=TokenRequest, errors=(503,),
            ),
            Route(
                "POST", "/tokens/{id}/revoke", "revoke_token", "Revoke a join token", self.revoke,
                RevokedToken, params=TokenParams, errors=(404, 503),
            ),
        )  # fmt: skip

    async def list(self, _params: NoParams, _body: NoBody) -> TokenList:
        """Every join token on record, newest first; never the tokens themselves."""
        return TokenList(tokens=await self._tokens.list())

    async def create(self, _params: NoParams, body: TokenRequest) -> NewToken:
        """Create a token with which one service or gateway may enrol until it expires or is revoked."""
        if body.service is not None and body.gateway is None:
            return await self._tokens.mint("service", body.service, body.ttl, body.author)
        if body.gateway is not None and body.service is None:
            return await self._tokens.mint("gateway", body.gateway, body.ttl, body.author)
        raise InputError("a join token is for one service or one gateway: set exactly one of them")

    async def revoke(self, params: TokenParams, _body: NoBody) -> RevokedToken:
        """Deny further enrolments with this token; workloads that have enrolled keep their certificates."""
        await self._tokens.revoke(params.id)
        return RevokedToken(id=params.id)
