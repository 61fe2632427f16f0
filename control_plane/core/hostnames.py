"""Host names of a gateway's listener and of a route: what both mean together."""

from __future__ import annotations


def intersect_hostnames(listener: str, route: tuple[str, ...]) -> tuple[str, ...]:
    """The hostnames under which a route is served at a listener (Gateway API, HTTPRouteSpec.hostnames)."""
    if not route:
        return (listener,)
    if not listener:
        return route
    return tuple(sorted({narrower for one in route if (narrower := _intersection(listener, one))}))


def _intersection(left: str, right: str) -> str:
    if left == right:
        return left
    for wide, narrow in ((left, right), (right, left)):
        if wide.startswith("*.") and narrow.endswith(wide[1:]):
            return narrow
    return ""
