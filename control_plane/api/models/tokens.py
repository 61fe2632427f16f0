"""Join tokens: create, list, revoke. Times are epoch seconds."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from meshwright.control_plane.api.models.base import ApiModel, Name, StrictModel

TokenRole = Literal["service", "gateway"]


class TokenRequest(StrictModel):
    """Set exactly one of `service` and `gateway`: the identity that may enrol with the token."""

    service: Name | None = None
    gateway: Name | None = None
    ttl: float = Field(3600.0, ge=1, le=30 * 86400, description="Seconds until the token expires.")
    author: str = Field("", max_length=200, description="Who creates it, for the record.")


class NewToken(ApiModel):
    """A new join token. The token itself is returned only here; `id` names it from now on."""

    token: str
    id: str
    expires: float


class TokenInfo(ApiModel):
    """A join token on record; `uses` counts its enrolments."""

    id: str
    role: TokenRole
    name: str
    created: float
    expires: float
    author: str = ""
    uses: int = 0
    revoked: bool = False


class TokenList(ApiModel):
    """Join tokens, newest first."""

    tokens: tuple[TokenInfo, ...] = ()


class RevokedToken(ApiModel):
    """The id of a revoked join token."""

    id: str
