"""Who may use a sidecar's outbound listener: only the app that it was started for.

Any process of the host can connect to loopback, and its calls would have the identity of the app's service.
So the app's proxy settings hold a random credential, which libraries send as `Proxy-Authorization` (RFC 9110,
11.7.1). Envoy compares its hash, and callers without it get a 407 with a reason. The control plane learns
only the hash.

One way of calling cannot send it: a gRPC channel to the listener itself, without a proxy setting. Calls of
that kind are let through to gRPC ports.

So there are two checks. Two filters with an exemption, of which the first leaves the name of the user as
metadata for the second, check requests until their host is known, and all that are not for a host of the mesh
without gRPC. Those hosts enable a single filter in their place, which has half the cost (bench.overhead).
"""

from __future__ import annotations

import re
from functools import lru_cache

from meshwright.control_plane.core import reply_reasons
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.reply_reason import Reason

HEADER = "proxy-authorization"

USER = "mesh"
"""The user name in the credential; the password tells the workload."""

STATUS = 407

HASH = re.compile(r"[A-Za-z0-9+/]{27}=")
"""Base64 of the SHA-1 digest of the secret, as Envoy's filter reads it. The secret has 256 random bits."""

REASON = Reason(
    (
        "rbac_access_denied_matched_policy[caller]",
        "no_credential_for_basic_auth",
        "invalid_credential_for_basic_auth",
        "invalid_scheme_for_basic_auth",
        "invalid_format_for_basic_auth",
    ),
    "this sidecar serves only its own app, which sends the credential in HTTP_PROXY: start the caller with "
    "`mesh run`, or take its proxy settings from the file of `mesh agent --app-env`",
    status=STATUS,
)

_AUTHENTICATION = "envoy.filters.http.basic_auth"
_AUTHORIZATION = "mesh.caller"
_WITHOUT_EXEMPTION = "mesh.credential"
_DISCOVERY = "envoy.filters.http.on_demand"


def require_credential(manager: v3.HttpConnectionManager, secret_hash: str) -> None:
    """Let `manager` refuse requests without the credential.

    The decision comes after the host is known, because hosts may have an exemption.
    """
    users = v3.DataSource(inline_string=f"{USER}:{{SHA}}{secret_hash}\n")
    strict = v3.BasicAuth(users=users, authentication_header=HEADER)
    authentication = v3.BasicAuth(
        users=users, authentication_header=HEADER, allow_missing=True, emit_dynamic_metadata=True
    )
    filters = list(manager.http_filters)
    position = next(index for index, entry in enumerate(filters) if entry.name == _DISCOVERY) + 1
    filters[position:position] = [
        v3.HttpFilter(name=_WITHOUT_EXEMPTION, typed_config=codec.pack(strict), disabled=True),
        v3.HttpFilter(name=_AUTHENTICATION, typed_config=codec.pack(authentication)),
        v3.HttpFilter(name=_AUTHORIZATION, typed_config=codec.pack(_refusal(exempt_grpc=False))),
    ]
    del manager.http_filters[:]
    manager.http_filters.extend(filters)
    mapper = reply_reasons.mapper(REASON)
    challenge = v3.HeaderValue(key="proxy-authenticate", value=f'Basic realm="{USER}"')
    mapper.headers_to_add.append(v3.HeaderValueOption(header=challenge))
    manager.local_reply_config.mappers.insert(0, mapper)


@lru_cache(maxsize=1)
def grpc_exemption() -> dict[str, v3.Any]:
    """`typed_per_filter_config` of the virtual hosts of gRPC ports."""
    return {_AUTHORIZATION: codec.pack(v3.RBACPerRoute(rbac=_refusal(exempt_grpc=True)))}


@lru_cache(maxsize=1)
def without_exemption() -> dict[str, v3.Any]:
    """`typed_per_filter_config` of the other virtual hosts of the mesh.

    The first request to a host has the filters of the listener, so the listener has to refuse as well.
    """
    disabled = codec.pack(v3.RouteFilterConfig(disabled=True))
    # An empty configuration enables the filter with that of the listener.
    enabled = codec.pack(v3.RouteFilterConfig(config=v3.Any()))
    return {_WITHOUT_EXEMPTION: enabled, _AUTHENTICATION: disabled, _AUTHORIZATION: disabled}


def _refusal(*, exempt_grpc: bool) -> v3.RBAC:
    authenticated = v3.Principal()
    authenticated.metadata.filter = _AUTHENTICATION
    authenticated.metadata.path.add().key = "username"
    authenticated.metadata.value.string_match.exact = USER
    anything = v3.Permission(any=True)
    policy = v3.RBACPolicy(
        permissions=[v3.Permission(not_rule=_grpc_call())] if exempt_grpc else [anything],
        principals=[v3.Principal(not_id=authenticated)],
    )
    return v3.RBAC(rules=v3.RBACRules(action=v3.RBACRules.DENY, policies={"caller": policy}))


def _grpc_call() -> v3.Permission:
    """A gRPC call and no tunnel (gRPC over HTTP/2, "Requests")."""
    method = v3.HeaderMatcher(name=":method", string_match=v3.StringMatcher(exact="POST"))
    kind = v3.HeaderMatcher(name="content-type", string_match=v3.StringMatcher(prefix="application/grpc"))
    rules = [v3.Permission(header=method), v3.Permission(header=kind)]
    return v3.Permission(and_rules=v3.Permission.Set(rules=rules))
