"""Timeout on Envoy's routes."""

from __future__ import annotations

from typing import ClassVar

from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.hooks import Hooks, Symptom
from meshwright.control_plane.policies.per_try_timeout import cap_per_try_timeout
from meshwright.control_plane.policies.timeout.spec import TimeoutSpec

_LIMITS = ("request", "backendRequest")


class TimeoutHooks(Hooks[TimeoutSpec]):
    """Timeouts of a route; each try's limit applies with and without retries."""

    explains: ClassVar[tuple[Symptom, ...]] = (
        Symptom("UT", ("backendRequest",), details="per_try", statistic="upstream_rq_per_try_timeout"),
        Symptom("UT", ("request",), statistic="upstream_rq_timeout"),
        Symptom("UMSDR", _LIMITS),
        Symptom("DT", _LIMITS),
        Symptom("SI", ("idle",)),
    )

    def patch_route(self, route: v3.Route) -> list[v3.Route]:
        """Set the timeouts of a forwarding route."""
        if not route.HasField("route"):
            return [route]
        if self.spec.request is not None:
            route.route.timeout.FromTimedelta(self.spec.request)
        if self.spec.idle is not None:
            route.route.idle_timeout.FromTimedelta(self.spec.idle)
        cap_per_try_timeout(route, self.spec.backend_request)
        return [route]
