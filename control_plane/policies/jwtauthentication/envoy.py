"""JWTAuthentication as Envoy's JWT filter: all routes share its requirements, and each names one of them.

Issuers and requirements are one resource for each proxy (ECDS). A route that names a requirement which the
filter does not have refuses the request: nothing is let through while the two disagree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from types import MappingProxyType
from typing import ClassVar, Self

from google.protobuf.message import Message

from meshwright.control_plane.api.resource_metadata import METADATA_KEY
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies import exempt_matches, outside_cluster, trusted_headers
from meshwright.control_plane.policies.called_url import parse_url
from meshwright.control_plane.policies.hooks import (
    FilterEntry,
    FilterPhase,
    Hooks,
    ListenerDirection,
    Symptom,
)
from meshwright.control_plane.policies.jwtauthentication import matches, providers
from meshwright.control_plane.policies.jwtauthentication.spec import JWTAuthenticationSpec
from meshwright.control_plane.policies.reply_reason import Reason, body_with_policies

NAME = "envoy.filters.http.jwt_authn"

DENIED = "jwt_authn_access_denied"
"""How the details begin of every response that the filter makes."""

AUTHENTICATION_KEY = "authentication"
"""The metadata of a route, below METADATA_KEY, that lists the policies in force on it."""

TOKENS_KEY = "tokens"
"""The metadata of a route, below METADATA_KEY, that lists where the filter keeps the claims of its tokens."""

UNAUTHORIZED = 401
"""The filter's 403 for a wrong audience becomes this one (RFC 6750, section 3.1: `invalid_token`)."""

SEVERAL_TOKENS, SEVERAL_TOKENS_STATUS = "several-tokens", 400
"""The route that refuses a token sent twice, and its status (RFC 6750, section 3.1: `invalid_request`)."""

_BODY = body_with_policies(f"{METADATA_KEY}:{AUTHENTICATION_KEY}")

_CAUSES = (
    ("Jwt_is_missing", "the request has no token"),
    ("Jwt_is_expired", "the token has expired"),
    ("Jwt_not_yet_valid", "the token is not valid yet"),
    ("Audiences_in_Jwt", "the token is for another audience"),
    ("issuer_is_not_configured", "the token is of another issuer"),
    ("doesn't_have_key", "none of the issuer's keys has the token's kid and algorithm"),
    ("verification_fails", "the token's signature is not the issuer's"),
    ("remote_fetch_is_failed", "the issuer's keys could not be fetched yet"),
    ("Jwks", "the issuer's keys cannot be used"),
    ("Wrong_requirement_name", "the proxy has not got the policy yet"),
)


class JWTAuthenticationHooks(Hooks[JWTAuthenticationSpec]):
    """The JWT filter at gateways, and at the sidecars of services that a policy targets."""

    explains: ClassVar[tuple[Symptom, ...]] = (
        Symptom(fields=("require", "issuers"), details=DENIED, statistic="jwt_authn.denied"),
    )
    reply_reasons: ClassVar[tuple[Reason, ...]] = (
        Reason((DENIED,), status=UNAUTHORIZED, body=_BODY, causes=(*_CAUSES, ("", "the token is malformed"))),
    )
    direct_responses: ClassVar[Mapping[str, str]] = MappingProxyType(
        {SEVERAL_TOKENS: "the request carries several tokens, and the application might read another one"}
    )

    @classmethod
    def shared_filters(cls, direction: ListenerDirection) -> Sequence[FilterEntry]:
        """Where requests arrive: at gateways, and at the sidecars of their destination."""
        return (
            () if direction == "outbound" else ((FilterPhase.AUTHENTICATION, NAME, v3.JwtAuthentication()),)
        )

    @classmethod
    def shared_config(
        cls,
        name: str,  # noqa: ARG003
        combinations: Sequence[Sequence[Self]],
        clusters: Mapping[str, str],
    ) -> Message:
        """A provider for each issuer of each policy, and a requirement for each set that a route may name."""
        config = v3.JwtAuthentication()
        for members in combinations:
            for hooks in members:
                for issuer in hooks.spec.issuers:
                    provider = providers.provider_name(hooks.policy, issuer)
                    config.providers[provider].CopyFrom(
                        providers.provider(hooks.policy, hooks.spec, issuer, clusters)
                    )
            for in_force in _without_exceptions(members):
                names = [hooks.policy for hooks in in_force]
                requirements = [providers.requirement(hooks.policy, hooks.spec) for hooks in in_force]
                config.requirement_map[_joined(names)].CopyFrom(providers.all_of(requirements))
        return config

    @property
    def policy(self) -> str:
        """The name of the document."""
        return self.ref.partition("/")[2]

    @property
    def tokens(self) -> Sequence[str]:
        """The keys of the filter's dynamic metadata under which the claims of its tokens are."""
        return [providers.provider_name(self.policy, issuer) for issuer in self.spec.issuers]

    def mesh_hosts(self) -> Sequence[str]:
        """The services of the mesh that keys come from."""
        sources = [parse_url(issuer.jwks.url) for issuer in self.spec.issuers if issuer.jwks.url]
        return tuple(source.authority for source in sources if source.mesh)

    def outside_clusters(self) -> Sequence[v3.Cluster]:
        """The other hosts that keys come from."""
        sources = (
            (parse_url(issuer.jwks.url), issuer.jwks.ca) for issuer in self.spec.issuers if issuer.jwks.url
        )
        return tuple(outside_cluster.cluster(url, ca) for url, ca in sources if not url.mesh)

    def patch_gateway_route(self, route: v3.Route) -> list[v3.Route]:
        """Require a token on this route, except for the exceptions."""
        return self._protected(route)

    def patch_inbound_route(self, route: v3.Route) -> list[v3.Route]:
        """Require a token of every caller of the service."""
        return self._protected(route)

    def _protected(self, route: v3.Route) -> list[v3.Route]:
        if not route.HasField("route"):
            return [route]
        return [*self._exempt(route), *self._refusals(route), self._verified(route)]

    def _exempt(self, route: v3.Route) -> Iterator[v3.Route]:
        """Copies of the route for the exceptions. Nobody vouches for the headers of claims there."""
        for exception in self.spec.exceptions:
            copy = _copy(route)
            copy.match.headers.extend(exempt_matches.exempt(exception))
            copy.request_headers_to_remove.extend(self._claim_headers(verified=False))
            yield copy

    def _refusals(self, route: v3.Route) -> Iterator[v3.Route]:
        """Copies of the route that refuse a token which the filter would read only the first of."""
        for place in dict.fromkeys(issuer.token for issuer in self.spec.issuers):
            repeated = matches.repeated(place)
            if repeated is not None:
                refusal = v3.Route(name=SEVERAL_TOKENS, match=route.match, metadata=route.metadata)
                refusal.match.headers.append(repeated)
                refusal.direct_response.status = SEVERAL_TOKENS_STATUS
                text = (
                    f"mesh: the request carries several tokens: send one (JWTAuthentication/{self.policy})\n"
                )
                refusal.direct_response.body.inline_string = text
                yield refusal

    def _verified(self, route: v3.Route) -> v3.Route:
        config = v3.JwtPerRoute()
        if NAME in route.typed_per_filter_config:
            route.typed_per_filter_config[NAME].Unpack(config)
        names = [*filter(None, config.requirement_name.split(_AND)), self.policy]
        config.requirement_name = _joined(names)
        route.typed_per_filter_config[NAME].CopyFrom(codec.pack(config))
        refs = [f"JWTAuthentication/{name}" for name in names]
        metadata = route.metadata.filter_metadata[METADATA_KEY]
        metadata.update({AUTHENTICATION_KEY: refs, TOKENS_KEY: [*tokens_of(route), *self.tokens]})
        route.request_headers_to_remove.extend(self._claim_headers(verified=True))
        removed = (issuer.token.header for issuer in self.spec.issuers if not issuer.forward_token)
        route.request_headers_to_remove.extend(dict.fromkeys(removed))
        return route

    def _claim_headers(self, *, verified: bool) -> Iterator[str]:
        """The names by which an application may read a claim."""
        for entry in self.spec.claim_headers:
            for name in trusted_headers.spellings(entry.header):
                if not (verified and name == entry.header):
                    yield name


def tokens_of(route: v3.Route) -> tuple[str, ...]:
    """The keys of the filter's dynamic metadata under which the claims of verified tokens are."""
    metadata = route.metadata.filter_metadata
    if METADATA_KEY not in metadata or TOKENS_KEY not in metadata[METADATA_KEY]:
        return ()
    return tuple(map(str, metadata[METADATA_KEY].get_or_create_list(TOKENS_KEY)))


_AND = "&"
"""Between the names of policies in the name of a requirement; no policy's name has it."""


def _joined(names: Sequence[str]) -> str:
    return _AND.join(names)


def _copy(route: v3.Route) -> v3.Route:
    copy = v3.Route()
    copy.CopyFrom(route)
    return copy


def _without_exceptions(
    members: Sequence[JWTAuthenticationHooks],
) -> Iterator[tuple[JWTAuthenticationHooks, ...]]:
    """The policies in force at the routes of one place: those with exceptions are there or not."""
    choices = [(True, False) if hooks.spec.exceptions else (True,) for hooks in members]
    for present in product(*choices):
        in_force = tuple(hooks for hooks, use in zip(members, present, strict=True) if use)
        if in_force:
            yield in_force
