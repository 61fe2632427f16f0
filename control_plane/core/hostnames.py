"""The host names that a gateway's listener and a route have in common."""

from __future__ import annotations


def intersect_hostnames(listener: str, route: tuple[str, ...]) -> tuple[str, ...]:
    """The hostnames under which a listener serves a route (Gateway API, HTTPRouteSpec.hostnames)."""
    if not route:
        return (listener,)
    if not listener:
        return route
    return tuple(sorted({narrower for host in route if (narrower := _intersection(listener, host))}))


def _intersection(left: str, right: str) -> str:
    if left == right:
        return left
    for wide, narrow in ((left, right), (right, left)):
        if wide.startswith("*.") and narrow.endswith(wide[1:]):
            return narrow
    return ""
