"""The endpoints that one client keeps for a while beside those that replace all of them."""

from __future__ import annotations

from meshwright.control_plane.core.endpoint_handover import is_checked, with_predecessors
from meshwright.control_plane.core.resource import Resource

IDLE_MOMENTS = 3
"""How often a stream is idle, once a second at most, before old endpoints leave. A first check takes
milliseconds, on a machine that is overloaded a second or two."""


class EndpointHandovers:
    """Of one stream: the old endpoints of clusters with health checks stay until it was idle some times."""

    def __init__(self) -> None:
        self._current: dict[str, Resource] = {}
        """The newest endpoints of clusters with health checks that the client has."""
        self._predecessors: dict[str, Resource] = {}
        self._remaining: dict[str, int] = {}

    @property
    def is_any(self) -> bool:
        """Whether any old endpoints are kept."""
        return bool(self._predecessors)

    def stage(self, endpoints: Resource, cluster: Resource | None, *, is_known: bool) -> Resource:
        """What to send for `endpoints`: with those that they replace, as long as these are kept.

        `is_known`: the client has endpoints of this name.
        """
        name = endpoints.name
        previous = self._current.pop(name, None) if is_known else None
        if cluster is None or not is_checked(cluster):
            self._forget(name)
            return endpoints
        self._current[name] = endpoints
        if name not in self._predecessors and previous is not None:
            if with_predecessors(previous, endpoints) is endpoints:
                return endpoints
            self._predecessors[name] = previous
            self._remaining[name] = IDLE_MOMENTS
        old = self._predecessors.get(name)
        return with_predecessors(old, endpoints) if old else endpoints

    def on_idle(self) -> set[str]:
        """Forget the old endpoints that were kept long enough; returns their clusters."""
        for name in self._remaining:
            self._remaining[name] -= 1
        ended = {name for name, moments in self._remaining.items() if moments <= 0}
        for name in ended:
            self._forget(name)
        return ended

    def _forget(self, name: str) -> None:
        self._predecessors.pop(name, None)
        self._remaining.pop(name, None)
