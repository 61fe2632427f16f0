"""Timeout: how long a request, one try of it, and silence on it may last."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from meshwright.control_plane.policies.base import Combine, TargetedPolicy, TargetedSpec
from meshwright.control_plane.policies.duration import Duration
from meshwright.control_plane.policies.per_try_timeout import cap_per_try_timeout

if TYPE_CHECKING:
    from meshwright.control_plane.envoy import v3


def check_limits(request: timedelta | None, backend_request: timedelta | None) -> None:
    """Raise ValueError when one try may last longer than all of them; zero is no limit."""
    if request and backend_request and backend_request > request:
        raise ValueError("backendRequest is longer than request, so it can never end a try: shorten it")


class TimeoutSpec(TargetedSpec):
    """Limits of time. `0s` means none; what is left out stays as it is without the policy."""

    request: Duration | None = Field(
        None, description="The whole request with all its tries: 504 when it takes longer."
    )
    backend_request: Duration | None = Field(
        None, description="Each single try. Without a Retry there is one try, and it has this long."
    )
    idle: Duration | None = Field(
        None, description="How long a request may go without a byte in either direction."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        check_limits(self.request, self.backend_request)
        return self

    def patch_route(self, route: v3.Route) -> list[v3.Route]:
        """Set the route's limits; each try's holds with and without retries."""
        if not route.HasField("route"):
            return [route]
        if self.request is not None:
            route.route.timeout.FromTimedelta(self.request)
        if self.idle is not None:
            route.route.idle_timeout.FromTimedelta(self.idle)
        cap_per_try_timeout(route, self.backend_request)
        return [route]


class Timeout(TargetedPolicy):
    """Ends requests that take too long with 504.

    The most specific Timeout wins whole: the `timeouts` of a route's rule, then one for the route, for the
    service, for the mesh.
    """

    combine: ClassVar[Combine] = "override"
    order: ClassVar[int] = 200

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["Timeout"] = Field(description="Always Timeout.")
    spec: TimeoutSpec = Field(description="Where it applies and the limits.")
