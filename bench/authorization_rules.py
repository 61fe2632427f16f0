"""The cost of authorization: a pair whose second Envoy compares each request with rules and lets it pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.authorization.envoy import AuthorizationHooks
from meshwright.control_plane.policies.authorization.spec import AuthorizationSpec

RULES = (2, 50)
"""Numbers of rules, half of them deny rules: all of these are evaluated."""


def authorized(rules: int) -> Callable[[Literal["client", "server"], dict[str, Any]], None]:
    """A change of a pair: the server side has this many rules, of which one matches."""
    half = rules // 2
    deny = [
        {
            "action": "deny",
            "from": [{"services": [f"caller-{number}"]}],
            "to": [{"methods": ["GET"], "paths": [{"value": f"/closed/{number}"}]}],
        }
        for number in range(half)
    ]
    allow = [
        {"from": [{"services": [f"caller-{number}"]}], "to": [{"paths": [{"value": f"/open/{number}"}]}]}
        for number in range(half - 1)
    ]
    spec = AuthorizationSpec.model_validate({"rules": [*deny, *allow, {"to": [{"methods": ["GET"]}]}]})
    hooks = AuthorizationHooks(spec, "Authorization/a")
    bare = v3.Route(route=v3.RouteAction(cluster=cluster_names.app_cluster("http")))
    (route,) = map(codec.to_dict, hooks.patch_inbound_route(bare))
    filters = [
        {"name": name, "typed_config": codec.to_dict(codec.pack(config)), "disabled": True}
        for _, name, config in AuthorizationHooks.route_filters("inbound")
    ]

    def change(side: Literal["client", "server"], bootstrap: dict[str, Any]) -> None:
        if side == "client":
            return
        chain = bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]
        manager = chain["filters"][0]["typed_config"]
        entry = manager["route_config"]["virtual_hosts"][0]["routes"][0]
        entry.setdefault("typed_per_filter_config", {}).update(route["typed_per_filter_config"])
        entry["metadata"] = route["metadata"]
        manager["http_filters"][-1:-1] = filters

    return change
