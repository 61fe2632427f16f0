"""JWTAuthentication: which tokens a gateway, a route or a service accepts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from meshwright.control_plane.policies.base import Combine, Spec, TargetedPolicy, TargetedSpec, TargetKind
from meshwright.control_plane.policies.called_url import CalledURL, parse_url
from meshwright.control_plane.policies.credential_location import CredentialLocation
from meshwright.control_plane.policies.duration import Duration
from meshwright.control_plane.policies.exempt_request import ExemptRequest
from meshwright.control_plane.policies.field_types import HOP_BY_HOP, HeaderName, check_distinct
from meshwright.control_plane.policies.jwtauthentication.jwks import JWKS
from meshwright.control_plane.policies.trusted_headers import check_spelling

DEFAULT_CLOCK_SKEW = timedelta(seconds=60)

_Text = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00-\x1f\x7f]+$")]
_ClaimPath = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\s.]+(\.[^\s.]+)*$")]


class TokenLocation(CredentialLocation):
    """Where a request carries the token. Set one of header, query and cookie."""

    prefix: Annotated[str, StringConstraints(max_length=64, pattern=r"^[ -~]*$")] = Field(
        "", description="What stands before the token in the header, such as `Bearer `."
    )

    @model_validator(mode="after")
    def _prefix_of_a_header(self) -> Self:
        if self.prefix and not self.header:
            raise ValueError("only a header has a prefix: leave it out")
        return self


BEARER = TokenLocation(header="authorization", prefix="Bearer ")


class TokenIssuer(Spec):
    """Who signs tokens, and how they are verified."""

    issuer: _Text = Field(description="The claim `iss` of its tokens, exactly.")
    audiences: tuple[_Text, ...] = Field(
        (), max_length=16, description="One of these must be in the claim `aud`. Empty: any audience."
    )
    jwks: JWKS = Field(description="Its public keys.")
    token: TokenLocation = Field(
        BEARER, description="Where requests carry the token. Default: `Authorization: Bearer TOKEN`."
    )
    forward_token: bool = Field(
        True, description="Whether the application gets the token. false removes its header."
    )

    @model_validator(mode="after")
    def _removable(self) -> Self:
        if not self.forward_token and not self.token.header:
            raise ValueError("forwardToken: only a header can be removed, no query parameter and no cookie")
        return self


class ClaimHeader(Spec):
    """A header for the application with the value of a claim."""

    claim: _ClaimPath = Field(
        description="The claim. `realm.role` is role in realm. Lists and objects are base64url of their JSON."
    )
    header: HeaderName = Field(
        description="The header. What clients send under this name never reaches the application."
    )

    @field_validator("header")
    @classmethod
    def _removable(cls, header: str) -> str:
        if header.lower() in HOP_BY_HOP | {"host", "authorization", "cookie", "content-type"}:
            raise ValueError(f"header {header!r} has a meaning of its own: use another name")
        return check_spelling(header)


class JWTAuthenticationSpec(TargetedSpec):
    """Issuers, what is required of them, and exceptions."""

    target_kinds: ClassVar[frozenset[TargetKind]] = frozenset(
        {"Gateway", "Service", "HTTPRoute", "GRPCRoute"}
    )
    gateway_sections: ClassVar[bool] = True
    gateway_routes_only: ClassVar[bool] = True

    require: Literal["any", "all", "none-but-verify"] = Field(
        "any",
        description="any: a token of one issuer. all: a token of each. none-but-verify: a request without a "
        "token passes. In each case a token that is not valid is refused, whatever others there are.",
    )
    issuers: tuple[TokenIssuer, ...] = Field(
        min_length=1, max_length=16, description="The issuers; each once."
    )
    claim_headers: tuple[ClaimHeader, ...] = Field(
        (), max_length=16, description="Claims of a verified token that the application gets as headers."
    )
    clock_skew: Duration = Field(
        DEFAULT_CLOCK_SKEW,
        ge=timedelta(seconds=1),
        le=timedelta(hours=1),
        description="How far the issuer's clock may differ, for `exp` and `nbf`.",
    )
    require_expiration: bool = Field(True, description="Whether a token without `exp` is refused.")
    exceptions: tuple[ExemptRequest, ...] = Field(
        (), max_length=16, description="Requests that need no token by this policy."
    )

    def called_urls(self) -> Iterator[tuple[str, CalledURL]]:
        """Where keys come from."""
        for index, entry in enumerate(self.issuers):
            if entry.jwks.url:
                yield f"issuers[{index}].jwks.url", parse_url(entry.jwks.url)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.from_:
            raise ValueError("from: a token says who the user is, whichever service calls: leave it out")
        check_distinct((entry.issuer for entry in self.issuers), "issuer")
        check_distinct((entry.header for entry in self.claim_headers), "header")
        places = [entry.token for entry in self.issuers]
        if self.require == "all" and len(set(places)) < len(places):
            raise ValueError(
                "require: all needs a token of each issuer, each in a place of its own: set token"
            )
        tokens = {place.header.lower() for place in places}
        for entry in self.claim_headers:
            if entry.header in tokens:
                raise ValueError(f"header {entry.header!r} carries the token: use another one for the claim")
        return self


class JWTAuthentication(TargetedPolicy):
    """Lets requests through only with a valid JSON Web Token (RFC 7519).

    A policy for a Gateway, one of its listeners (`sectionName`) or a route is enforced at the gateway; one
    for a Service by the sidecars of that service, for every caller. All policies apply that target a request,
    and none lifts another. A refused request gets 401 with the reason and the policies that were in force.
    """

    combine: ClassVar[Combine] = "all"
    order: ClassVar[int] = 150

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["JWTAuthentication"] = Field(description="Always JWTAuthentication.")
    spec: JWTAuthenticationSpec = Field(description="Targets, issuers, requirements and exceptions.")
