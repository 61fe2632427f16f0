"""BasicAuthentication as Envoy's basic authentication filter, which each route configures with its users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from meshwright.control_plane.api.resource_metadata import METADATA_KEY
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.basicauthentication.spec import BasicAuthenticationSpec
from meshwright.control_plane.policies.credential_gate import other_spellings
from meshwright.control_plane.policies.hooks import FilterEntry, FilterPhase, Hooks, ListenerDirection
from meshwright.control_plane.policies.reply_reason import Reason, body_with_policies

NAME = "envoy.filters.http.basic_auth"

POLICIES_KEY, REALM_KEY = "basicAuthentication", "realm"
"""The metadata of a route, below METADATA_KEY: the policies in force on it, and the realm of the first."""

_USERNAME = f"%DYNAMIC_METADATA({NAME}:username)%"

NOBODY = f"nobody:{{SHA}}{'A' * 27}=\n"
"""A user whose password nobody knows, since no text is known with this hash. Envoy wants at least one."""

_CAUSES = (
    ("no_credential_for_basic_auth", "the request has no name and password"),
    ("invalid_credential_for_basic_auth", "the name or the password is wrong"),
    ("invalid_scheme_for_basic_auth", "the Authorization header has another scheme than Basic"),
    ("invalid_format_for_basic_auth", "the Authorization header is malformed"),
)


class BasicAuthenticationHooks(Hooks[BasicAuthenticationSpec]):
    """The filter at gateways and at sidecars of services: one list for all policies."""

    as_one: ClassVar[bool] = True

    reply_reasons: ClassVar[tuple[Reason, ...]] = (
        Reason(
            tuple(details for details, _ in _CAUSES),
            body=body_with_policies(f"{METADATA_KEY}:{POLICIES_KEY}"),
            headers=(("www-authenticate", f'Basic realm="%METADATA(ROUTE:{METADATA_KEY}:{REALM_KEY})%"'),),
            causes=_CAUSES,
        ),
    )

    @classmethod
    def route_filters(cls, direction: ListenerDirection) -> Sequence[FilterEntry]:
        """Where requests arrive: at gateways, and at the sidecars of their destination."""
        if direction == "outbound":
            return ()
        inert = v3.BasicAuth(users=v3.DataSource(inline_string=NOBODY), emit_dynamic_metadata=True)
        return [(FilterPhase.AUTHENTICATION, NAME, inert)]

    def patch_gateway_route(self, route: v3.Route) -> list[v3.Route]:
        """Ask clients of the gateway for a password."""
        return self._protected(route)

    def patch_inbound_route(self, route: v3.Route) -> list[v3.Route]:
        """Ask every caller of the service for a password."""
        return self._protected(route)

    def _protected(self, route: v3.Route) -> list[v3.Route]:
        if not route.HasField("route"):
            return [route]
        config = v3.BasicAuthPerRoute(users=v3.DataSource(inline_string=self._users()))
        route.typed_per_filter_config[NAME].CopyFrom(codec.pack(config))
        specs = [hooks.spec for hooks in self.members]
        refs = [hooks.ref for hooks in self.members]
        route.metadata.filter_metadata[METADATA_KEY].update({POLICIES_KEY: refs, REALM_KEY: self.spec.realm})
        if not any(spec.forward_credentials for spec in specs):
            route.request_headers_to_remove.append("authorization")
        for header in dict.fromkeys(spec.forward_username_header for spec in specs):
            if header:
                route.request_headers_to_remove.extend(other_spellings(header))
                route.request_headers_to_add.add(
                    header=v3.HeaderValue(key=header, value=_USERNAME),
                    append_action=v3.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
                )
        return [route]

    def _users(self) -> str:
        """The users of every policy, those with the same password in each."""
        first, *others = (hooks.spec.users.hashes().items() for hooks in self.members)
        common = [pair for pair in first if all(pair in other for other in others)]
        return "".join(f"{user}:{{SHA}}{digest}\n" for user, digest in common) or NOBODY
