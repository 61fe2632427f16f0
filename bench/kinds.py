"""The cost of kinds of policies: a pair whose second Envoy has one in force that lets every request pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from bench import authorization_rules, jwt_tokens, rate_limits
from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.apikeyauthentication.envoy import APIKeyAuthenticationHooks
from meshwright.control_plane.policies.apikeyauthentication.spec import APIKeyAuthenticationSpec
from meshwright.control_plane.policies.authorization.envoy import AuthorizationHooks
from meshwright.control_plane.policies.basicauthentication.envoy import BasicAuthenticationHooks
from meshwright.control_plane.policies.basicauthentication.spec import BasicAuthenticationSpec
from meshwright.control_plane.policies.externalauthorization.envoy import ExternalAuthorizationHooks
from meshwright.control_plane.policies.externalauthorization.spec import ExternalAuthorizationSpec
from meshwright.control_plane.policies.hooks import Hooks, ListenerDirection
from meshwright.control_plane.policies.requestlimits.envoy import RequestLimitsHooks
from meshwright.control_plane.policies.requestlimits.spec import RequestLimitsSpec

Json = dict[str, Any]
Change = Callable[[Literal["client", "server"], Json], None]

GLOBAL_LIMIT = "global rate limit"

KEY = "5d41402abc4b2a76b9719d911017c592"
BASIC = "Basic b3BzOmhlbGxv"
"""User `ops`, password `hello`, whose hash is below."""

USERS = {"users": {"inline": "ops:{SHA}qvTGHdzF6KLavt4PO0gs2a6pQ00=\n"}}


def kinds(authorizer: int, limits: int) -> dict[str, Change]:
    """A change of a pair for each row, with the ports of an HTTP authorizer and of a rate limit service."""
    basic = BasicAuthenticationHooks(BasicAuthenticationSpec.model_validate(USERS), "BasicAuthentication/a")
    keys = APIKeyAuthenticationSpec.model_validate({"keys": {"inline": f"shop:{KEY}\n"}})
    bodies = RequestLimitsSpec.model_validate({"maxBody": "1Mi"})
    tokens = {f"JSON Web Tokens, {name}": jwt_tokens.verified(name) for name in jwt_tokens.ALGORITHMS}
    local = {f"local rate limit, {name}": rate_limits.limited(key) for name, key in rate_limits.KEYS.items()}
    rules = {
        f"authorization of {number} rules": in_force(
            AuthorizationHooks(authorization_rules.rules(number), "Authorization/a")
        )
        for number in authorization_rules.RULES
    }
    return {
        **tokens,
        **local,
        **rules,
        "basic authentication": in_force(basic, ("authorization", BASIC)),
        "API keys": in_force(APIKeyAuthenticationHooks(keys, "APIKeyAuthentication/a"), ("x-api-key", KEY)),
        "limit of bodies": in_force(RequestLimitsHooks(bodies, "RequestLimits/a")),
        GLOBAL_LIMIT: rate_limits.global_limit(limits),
        "external authorization by HTTP": _authorized(authorizer),
    }


def _authorized(port: int) -> Change:
    url = f"http://127.0.0.1:{port}/"
    spec = ExternalAuthorizationSpec.model_validate({"http": {"url": url}, "timeout": "1s"})
    return in_force(ExternalAuthorizationHooks(spec, "ExternalAuthorization/a"))


def in_force(
    hooks: Hooks[Any], header: tuple[str, str] | None = None, *, at: ListenerDirection = "inbound"
) -> Change:
    """A change of a pair: the policy is in force at the server side; the client side adds `header`.

    `at`: whether it is that of a service or that of a gateway.
    """
    app = cluster_names.app_cluster("http")
    bare = v3.Route(match=v3.RouteMatch(prefix="/"), route=v3.RouteAction(cluster=app))
    patch = hooks.patch_gateway_route if at == "ingress" else hooks.patch_inbound_route
    routes: list[Json] = [codec.to_dict(route) for route in patch(bare)]
    for route in routes:
        if "route" in route:
            route["route"]["cluster"] = "next"
    filters = [
        {"name": name, "typed_config": codec.to_dict(codec.pack(config)), "disabled": True}
        for _, name, config in hooks.route_filters(at)
    ]
    clusters = [codec.to_dict(cluster) for cluster in hooks.outside_clusters()]

    def change(side: Literal["client", "server"], bootstrap: Json) -> None:
        chain = bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]
        manager = chain["filters"][0]["typed_config"]
        host = manager["route_config"]["virtual_hosts"][0]
        if side == "client":
            if header:
                added = {"header": dict(zip(("key", "value"), header, strict=True))}
                host["routes"][0].setdefault("request_headers_to_add", []).append(added)
            return
        host["routes"] = routes
        manager["http_filters"][-1:-1] = filters
        bootstrap["static_resources"]["clusters"] += clusters

    return change
