"""The CORS filter of an HTTPRoute as Envoy's: always in the chain, configured per route."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import get_args

from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.httproute.cors import ANY, CORSMethod, HTTPCORSFilter
from meshwright.control_plane.policies.httproute.filters import HTTPRouteFilter

NAME = "envoy.filters.http.cors"

_METHODS = ", ".join(method for method in get_args(CORSMethod) if method != ANY)


def apply(filters: Iterable[HTTPRouteFilter], route: v3.Route) -> None:
    """Configure Envoy's filter for a route, if one of the filters is CORS; the last one counts."""
    for item in filters:
        if item.cors is not None:
            route.typed_per_filter_config[NAME].CopyFrom(codec.pack(policy(item.cors)))


def policy(cors: HTTPCORSFilter) -> v3.CorsPolicy:
    """The filter's configuration of a route.

    Requests of an origin that may not call pass unchanged, preflight requests too: browsers refuse the
    response, since it has no CORS headers.
    """
    return v3.CorsPolicy(
        allow_origin_string_match=[_origin(origin) for origin in cors.allow_origins],
        allow_methods=_METHODS if ANY in cors.allow_methods else ", ".join(cors.allow_methods),
        allow_headers=", ".join(cors.allow_headers),
        expose_headers=", ".join(cors.expose_headers),
        max_age=str(cors.max_age),
        allow_credentials=v3.BoolValue(value=cors.allow_credentials),
        forward_not_matching_preflights=v3.BoolValue(value=True),
    )


def any_origin(packed: v3.Any) -> v3.StringMatcher:
    """Matches every origin that a route's configuration of the filter lets call."""
    config = v3.CorsPolicy.FromString(packed.value)
    patterns = (
        origin.safe_regex.regex or re.escape(origin.exact) for origin in config.allow_origin_string_match
    )
    return v3.StringMatcher(safe_regex=v3.RegexMatcher(regex="|".join(patterns)))


def _origin(origin: str) -> v3.StringMatcher:
    if ANY not in origin:
        return v3.StringMatcher(exact=origin)
    pattern = ".*" if origin == ANY else re.escape(origin).replace(r"\*", "[^/:]+")
    return v3.StringMatcher(safe_regex=v3.RegexMatcher(regex=pattern))
