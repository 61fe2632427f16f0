"""Issuers as providers of Envoy's JWT filter, and what is required of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies import outside_cluster
from meshwright.control_plane.policies.called_url import parse_url
from meshwright.control_plane.policies.jwtauthentication.jwks import JWKS
from meshwright.control_plane.policies.jwtauthentication.spec import (
    JWTAuthenticationSpec,
    TokenIssuer,
    TokenLocation,
)

FETCH_TIMEOUT = timedelta(seconds=5)
RETRY_AFTER = timedelta(seconds=1)
"""After a failed fetch: how soon a proxy that has no keys yet recovers."""


def provider_name(policy: str, issuer: TokenIssuer) -> str:
    """Unique in a proxy: an issuer occurs once in a policy."""
    return f"{policy}/{issuer.issuer}"


def provider(
    policy: str, spec: JWTAuthenticationSpec, issuer: TokenIssuer, clusters: Mapping[str, str]
) -> v3.JwtProvider:
    """One issuer. Its name is the key under which Authorization finds the claims.

    The token stays for the filter's other requirements; the route removes its header.
    """
    message = v3.JwtProvider(
        issuer=issuer.issuer,
        audiences=issuer.audiences,
        forward=True,
        payload_in_metadata=provider_name(policy, issuer),
        require_expiration=spec.require_expiration,
        clock_skew_seconds=round(spec.clock_skew.total_seconds()),
        claim_to_headers=[
            v3.JwtClaimToHeader(header_name=entry.header, claim_name=entry.claim)
            for entry in spec.claim_headers
        ],
    )
    _set_place(issuer.token, message)
    if issuer.jwks.inline:
        message.local_jwks.inline_string = issuer.jwks.inline
    else:
        message.remote_jwks.CopyFrom(_remote(issuer.jwks, clusters))
    return message


def _set_place(place: TokenLocation, message: v3.JwtProvider) -> None:
    if place.header:
        message.from_headers.add(name=place.header.lower(), value_prefix=place.prefix)
    elif place.query:
        message.from_params.append(place.query)
    else:
        message.from_cookies.append(place.cookie)


def _remote(jwks: JWKS, clusters: Mapping[str, str]) -> v3.RemoteJwks:
    """Fetched in the background, at once and before the keys become old: listeners never wait for it.

    While the host is away the keys that Envoy has stay in use.
    """
    source = parse_url(jwks.url)
    cluster = clusters[source.authority] if source.mesh else outside_cluster.name(source, jwks.ca)
    return v3.RemoteJwks(
        http_uri=v3.HttpUri(uri=jwks.url, cluster=cluster, timeout=FETCH_TIMEOUT),
        cache_duration=jwks.refresh,
        async_fetch=v3.JwksAsyncFetch(fast_listener=True, failed_refetch_duration=RETRY_AFTER),
    )


# --- requirements -------------------------------------------------------------------------------------


def requirement(policy: str, spec: JWTAuthenticationSpec) -> v3.JwtRequirement:
    """What a policy requires of a request.

    `any` of Envoy ends with the first token that is valid. Where issuers have places of their own, the token
    in each other place must be valid as well, or an application might read one that nobody verified.
    """
    places: dict[TokenLocation, list[v3.JwtRequirement]] = {}
    for issuer in spec.issuers:
        name = v3.JwtRequirement(provider_name=provider_name(policy, issuer))
        places.setdefault(issuer.token, []).append(name)
    everybody = [name for names in places.values() for name in names]
    if spec.require == "all":
        return all_of(everybody)
    optional = [_any_of([*names, _missing()]) for names in places.values()]
    if spec.require == "none-but-verify":
        return all_of(optional)
    if len(places) == 1:
        return _any_of(everybody)
    return all_of([*optional, _any_of(everybody)])


def all_of(requirements: Sequence[v3.JwtRequirement]) -> v3.JwtRequirement:
    """All of them; a single one as it is."""
    if len(requirements) == 1:
        return requirements[0]
    message = v3.JwtRequirement()
    message.requires_all.requirements.extend(requirements)
    return message


def _any_of(requirements: Sequence[v3.JwtRequirement]) -> v3.JwtRequirement:
    """One of them; a single one as it is."""
    if len(requirements) == 1:
        return requirements[0]
    message = v3.JwtRequirement()
    message.requires_any.requirements.extend(requirements)
    return message


def _missing() -> v3.JwtRequirement:
    message = v3.JwtRequirement()
    message.allow_missing.SetInParent()
    return message
