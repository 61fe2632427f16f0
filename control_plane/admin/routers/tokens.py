"""Routes of join tokens: make, list, revoke. A token itself is shown once, when it is made."""

from __future__ import annotations

from pydantic import Field

from meshwright.control_plane.admin.context import AdminContext
from meshwright.control_plane.admin.route import NoParams, RequestParams, Route
from meshwright.control_plane.api.models.tokens import NewToken, RevokedToken, TokenList, TokenRequest
from meshwright.control_plane.errors import InputError


class TokenParams(RequestParams):
    id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="As `mesh token list` shows it.")


async def mint(mesh: AdminContext, _params: NoParams, body: TokenRequest) -> NewToken:
    """A token with which one service or gateway may enrol until it expires or is revoked."""
    if body.service is not None and body.gateway is None:
        return await mesh.tokens.mint("service", body.service, body.ttl, body.author)
    if body.gateway is not None and body.service is None:
        return await mesh.tokens.mint("gateway", body.gateway, body.ttl, body.author)
    raise InputError("a join token is for one service or one gateway: name exactly one of them")


async def listed(mesh: AdminContext, _params: NoParams, _body: object) -> TokenList:
    """Every token on record, newest first; never the tokens themselves."""
    return TokenList(tokens=await mesh.tokens.list())


async def revoke(mesh: AdminContext, params: TokenParams, _body: object) -> RevokedToken:
    """Enrolment with this token is refused from now on; who has enrolled with it already stays."""
    await mesh.tokens.revoke(params.id)
    return RevokedToken(id=params.id)


ROUTES = (
    Route("GET", "/tokens", "tokens", "Every join token on record", listed, TokenList, errors=(503,)),
    Route(
        "POST", "/tokens", "token", "A join token for one service or gateway", mint, NewToken,
        body=TokenRequest, errors=(503,),
    ),
    Route(
        "POST", "/tokens/{id}/revoke", "revokeToken", "Refuse a join token from now on", revoke, RevokedToken,
        params=TokenParams, errors=(404, 503),
    ),
)  # fmt: skip
