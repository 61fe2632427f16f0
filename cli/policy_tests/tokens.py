"""Tokens of the cases: signed by a key of the command, which stands for the keys of the policies' issuers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey

from meshwright.control_plane.policies.base import Policy
from meshwright.control_plane.policies.jwtauthentication.jwks import JWKS
from meshwright.control_plane.policies.jwtauthentication.spec import BEARER, JWTAuthentication, TokenLocation

ALGORITHM, KEY_ID = "ES256", "mesh-test"

LIFETIME = 3600
"""Seconds until a token expires whose claims do not say when."""


class CaseTokens:
    """Signs tokens of the issuers that these policies trust."""

    def __init__(self, policies: Iterable[Policy]) -> None:
        self._key = ECKey.generate_key("P-256", {"kid": KEY_ID, "alg": ALGORITHM, "use": "sig"})
        self._places: dict[str, TokenLocation] = {
            entry.issuer: entry.token
            for policy in policies
            if isinstance(policy, JWTAuthentication)
            for entry in policy.spec.issuers
        }

    def with_own_key(self, policy: Policy) -> Policy:
        """The policy as the mesh gets it: with this key in place of its issuers' own."""
        if not isinstance(policy, JWTAuthentication):
            return policy
        keys = JWKS(inline=json.dumps({"keys": [self._key.as_dict(private=False)]}))
        issuers = tuple(entry.model_copy(update={"jwks": keys}) for entry in policy.spec.issuers)
        return policy.model_copy(update={"spec": policy.spec.model_copy(update={"issuers": issuers})})

    def sign(self, claims: Mapping[str, Any], now: float) -> tuple[str, TokenLocation]:
        """A token, and where its issuer expects it.

        Without `iss` it is that of the only issuer; it expires after LIFETIME unless `exp` says otherwise. A
        claim that is null is left out.
        """
        defaults: dict[str, Any] = {"iat": int(now), "exp": int(now) + LIFETIME}
        if len(self._places) == 1:
            defaults["iss"] = next(iter(self._places))
        named = {name: value for name, value in {**defaults, **claims}.items() if value is not None}
        token = jwt.encode({"alg": ALGORITHM, "kid": KEY_ID}, named, self._key)
        return token, self._places.get(str(named.get("iss")), BEARER)
