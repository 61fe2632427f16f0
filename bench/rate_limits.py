"""The cost of rate limits: the second Envoy takes a token of each bucket with each request, or asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.ratelimit import global_filter
from meshwright.control_plane.policies.ratelimit.envoy import RateLimitHooks
from meshwright.control_plane.policies.ratelimit.local_filter import LOCAL
from meshwright.control_plane.policies.ratelimit.spec import MAX_REQUESTS, RateLimitSpec

EXTENSIONS = "type.googleapis.com/envoy.extensions"
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

KEYS = {"one bucket": None, "by caller": "Caller", "by path": "Path"}
"""What the second of two limits is for, by the name of the row."""


def limited(key: str | None) -> Callable[[Literal["client", "server"], dict[str, Any]], None]:
    """A change of a pair: the server side limits all requests, and each value of `key`; none is refused."""
    limits: list[dict[str, Any]] = [{"requests": MAX_REQUESTS, "per": "1s"}]
    if key is not None:
        limits.append({"requests": MAX_REQUESTS, "per": "1s", "by": [{"type": key}]})
    hooks = RateLimitHooks(RateLimitSpec.model_validate({"limits": limits}), "RateLimit/a")
    config = RateLimitHooks.shared_config(LOCAL, [[hooks]], {})
    (limited_route,) = hooks.patch_inbound_route(v3.Route(route=v3.RouteAction(cluster="app")))
    route: dict[str, Any] = codec.to_dict(limited_route)

    def change(side: Literal["client", "server"], bootstrap: dict[str, Any]) -> None:
        if side == "client":
            return
        chain = bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]
        manager = chain["filters"][0]["typed_config"]
        entry = manager["route_config"]["virtual_hosts"][0]["routes"][0]
        entry.setdefault("typed_per_filter_config", {}).update(route["typed_per_filter_config"])
        entry["metadata"] = route["metadata"]
        typed = {"@type": codec.type_url(config), **codec.to_dict(config)}
        manager["http_filters"].insert(-1, {"name": LOCAL, "typed_config": typed, "disabled": True})

    return change


def global_limit(port: int) -> Callable[[Literal["client", "server"], dict[str, Any]], None]:
    """A change of a pair: the server side asks the rate limit service at `port` about each request."""
    limits = [{"requests": MAX_REQUESTS, "per": "1s", "by": [{"type": "Caller"}]}]
    spec = RateLimitSpec.model_validate({"limits": limits, "scope": "global"})
    (limited_route,) = RateLimitHooks(spec, "RateLimit/a").patch_inbound_route(
        v3.Route(route=v3.RouteAction(cluster="app"))
    )
    route: dict[str, Any] = codec.to_dict(limited_route)
    (name,) = route["typed_per_filter_config"]
    config = global_filter.unconfigured(name)
    typed = {"@type": codec.type_url(config), **codec.to_dict(config)}
    options = {"@type": f"{EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions"}
    http2: dict[str, Any] = {"explicit_http_config": {"http2_protocol_options": {}}}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    service = {
        "name": cluster_names.XDS,
        "type": "STATIC",
        "typed_extension_protocol_options": {HTTP_OPTIONS: options | http2},
        "load_assignment": {
            "cluster_name": cluster_names.XDS,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }

    def change(side: Literal["client", "server"], bootstrap: dict[str, Any]) -> None:
        if side == "client":
            return
        manager = bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0][
            "typed_config"
        ]
        entry = manager["route_config"]["virtual_hosts"][0]["routes"][0]
        entry.setdefault("typed_per_filter_config", {}).update(route["typed_per_filter_config"])
        manager["http_filters"].insert(-1, {"name": name, "typed_config": typed, "disabled": True})
        bootstrap["static_resources"]["clusters"].append(service)

    return change
