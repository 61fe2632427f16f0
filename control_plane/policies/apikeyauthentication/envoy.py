"""APIKeyAuthentication as Envoy's filter for API keys, which each route configures in whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from meshwright.control_plane.api.resource_metadata import METADATA_KEY
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.apikeyauthentication.spec import APIKeyAuthenticationSpec
from meshwright.control_plane.policies.credential_gate import other_spellings
from meshwright.control_plane.policies.hooks import FilterEntry, FilterPhase, Hooks, ListenerDirection
from meshwright.control_plane.policies.reply_reason import Reason, body_with_policies

NAME = "envoy.filters.http.api_key_auth"

POLICIES_KEY = "apiKeyAuthentication"
"""The metadata of a route, below METADATA_KEY, that lists the policies in force on it."""

_CAUSES = (
    ("missing_api_key", "the request has no API key"),
    ("unknown_api_key", "the API key is unknown"),
    ("missing_credentials", "no key passes all policies that are in force"),
    ("missing_key_sources", "the policies in force look for the key in different places"),
)


class APIKeyAuthenticationHooks(Hooks[APIKeyAuthenticationSpec]):
    """The filter at gateways and at sidecars of services: one list for all policies."""

    as_one: ClassVar[bool] = True

    reply_reasons: ClassVar[tuple[Reason, ...]] = (
        Reason(
            tuple(details for details, _ in _CAUSES),
            body=body_with_policies(f"{METADATA_KEY}:{POLICIES_KEY}"),
            causes=_CAUSES,
        ),
    )

    @classmethod
    def route_filters(cls, direction: ListenerDirection) -> Sequence[FilterEntry]:
        """Where requests arrive: at gateways, and at the sidecars of their destination."""
        return () if direction == "outbound" else [(FilterPhase.AUTHENTICATION, NAME, v3.ApiKeyAuth())]

    def patch_gateway_route(self, route: v3.Route) -> list[v3.Route]:
        """Ask clients of the gateway for a key."""
        return self._protected(route)

    def patch_inbound_route(self, route: v3.Route) -> list[v3.Route]:
        """Ask every caller of the service for a key."""
        return self._protected(route)

    def _protected(self, route: v3.Route) -> list[v3.Route]:
        if not route.HasField("route"):
            return [route]
        specs = [hooks.spec for hooks in self.members]
        header = next(filter(None, (spec.forward_client_id_header for spec in specs)), "")
        hidden = not any(spec.forward_credentials for spec in specs)
        config = v3.ApiKeyAuthPerRoute(forwarding=v3.ApiKeyForwarding(header=header, hide_credentials=hidden))
        for key, client in self._keys().items():
            config.credentials.add(key=key, client=client)
        first, *others = (spec.extract_from for spec in specs)
        for place in first:
            if all(place in places for places in others):
                config.key_sources.add(header=place.header, query=place.query, cookie=place.cookie)
        route.typed_per_filter_config[NAME].CopyFrom(codec.pack(config))
        refs = [hooks.ref for hooks in self.members]
        route.metadata.filter_metadata[METADATA_KEY].update({POLICIES_KEY: refs})
        route.request_headers_to_remove.extend(other_spellings(header))
        return [route]

    def _keys(self) -> dict[str, str]:
        """The keys that every policy has, with the clients of the first."""
        first, *others = (hooks.spec.keys.clients() for hooks in self.members)
        return {key: client for key, client in first.items() if all(key in other for other in others)}
