"""The cost of a JSON Web Token: a pair whose second Envoy verifies one with each request.

The first Envoy adds the token, so that all pairs get the same requests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from google.protobuf.message import Message

from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.jwtauthentication.envoy import NAME, JWTAuthenticationHooks
from meshwright.control_plane.policies.jwtauthentication.spec import JWTAuthenticationSpec
from tests.fakes import jwt_keys

ALGORITHMS = ("ES256", "RS256")

LIFETIME = 24 * 3600
"""Seconds that a token is valid: longer than any benchmark."""


def verified(algorithm: str) -> Callable[[Literal["client", "server"], dict[str, Any]], None]:
    """A change of a pair: each request has a token of this algorithm, which the server side verifies."""
    key = jwt_keys.key(algorithm)
    claims = jwt_keys.claims()
    token = jwt_keys.token(key, algorithm, {**claims, "exp": claims["exp"] + LIFETIME}, "a")
    jwks = jwt_keys.key_set(jwt_keys.jwk(key, algorithm, "a"))
    spec = JWTAuthenticationSpec.model_validate(
        {
            "issuers": [{"issuer": jwt_keys.ISSUER, "jwks": {"inline": jwks}}],
            "claimHeaders": [{"claim": "sub", "header": "x-user"}],
        }
    )
    config = JWTAuthenticationHooks.shared_config(
        NAME, [[JWTAuthenticationHooks(spec, "JWTAuthentication/a")]], {}
    )
    route = v3.JwtPerRoute(requirement_name="a")

    def change(side: Literal["client", "server"], bootstrap: dict[str, Any]) -> None:
        chain = bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]
        manager = chain["filters"][0]["typed_config"]
        entry = manager["route_config"]["virtual_hosts"][0]["routes"][0]
        if side == "client":
            header = {"header": {"key": "authorization", "value": f"Bearer {token}"}}
            entry.setdefault("request_headers_to_add", []).append(header)
            return
        entry.setdefault("typed_per_filter_config", {})[NAME] = _typed(route)
        manager["http_filters"].insert(-1, {"name": NAME, "typed_config": _typed(config)})

    return change


def _typed(message: Message) -> dict[str, Any]:
    return {"@type": codec.type_url(message), **codec.to_dict(message)}
