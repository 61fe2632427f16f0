"""Host names of listeners and routes: what they have in common, and which one is more specific.

An empty name means every host; `*.example.com` means every subdomain of example.com.
"""

from __future__ import annotations

from collections.abc import Iterable


def intersect_hostnames(listener: str, route: tuple[str, ...]) -> tuple[str, ...]:
    """The hostnames under which a listener serves a route (Gateway API, HTTPRouteSpec.hostnames)."""
    if not route:
        return (listener,)
    if not listener:
        return route
    return tuple(sorted({narrower for host in route if (narrower := _intersection(listener, host))}))


def _intersection(left: str, right: str) -> str:
    for wide, narrow in ((left, right), (right, left)):
        if covers(wide, narrow):
            return narrow
    return ""


def covers(wide: str, narrow: str) -> bool:
    """Whether every host that `narrow` means is one that `wide` means."""
    return not wide or wide == narrow or (wide.startswith("*.") and narrow.endswith(wide[1:]))


def precedence(host: str) -> tuple[bool, int]:
    """A key that sorts host names, the most specific first: exact ones, then the longest."""
    return (not host or host.startswith("*."), -len(host))


def most_specific(hosts: Iterable[str], host: str) -> str | None:
    """The most specific of `hosts` that covers `host`; None if none does."""
    return min((wide for wide in hosts if covers(wide, host)), key=precedence, default=None)
