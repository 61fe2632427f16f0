"""Routes for browsers' preflight requests (CORS), which most routes that have a CORS policy do not match.

A browser asks with OPTIONS, without the headers and the content type of the request that it is about to send.
It says only which method that will have, in `access-control-request-method` (Fetch standard, "CORS-preflight
request"). A route for a method or for headers never sees it, nor does Envoy's CORS filter, which answers by
the configuration of the route.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.httproute import envoy_cors as cors


def routes(match: v3.RouteMatch, patched: Iterable[v3.Route]) -> Iterator[v3.Route]:
    """The route for preflight requests of the requests that `match` takes, if it needs one of its own.

    `patched`: the routes of these requests. The new route has their action, since Envoy's filter looks at no
    other routes, but forwards nothing: it matches only origins that may call, which the filter answers. What
    is asked for by header values is unknown yet, so none are matched.
    """
    if not (match.headers or match.HasField("grpc")):
        return
    for route in patched:
        if route.HasField("route") and cors.NAME in route.typed_per_filter_config:
            preflight = v3.Route.FromString(route.SerializeToString())
            preflight.match.CopyFrom(match)
            for field in ("headers", "grpc", "runtime_fraction"):
                preflight.match.ClearField(field)
            preflight.match.headers.extend(_headers(match, route.typed_per_filter_config[cors.NAME]))
            yield preflight
            return


def _headers(match: v3.RouteMatch, policy: v3.Any) -> Iterator[v3.HeaderMatcher]:
    yield v3.HeaderMatcher(name=":method", string_match=v3.StringMatcher(exact="OPTIONS"))
    method = v3.HeaderMatcher(name="access-control-request-method", present_match=True)
    for header in match.headers:
        if header.name == ":method":
            method.string_match.CopyFrom(header.string_match)
    yield method
    yield v3.HeaderMatcher(name="origin", string_match=cors.any_origin(policy))
