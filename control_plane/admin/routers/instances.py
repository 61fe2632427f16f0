"""Route: the instances with a lease."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from meshwright.control_plane.admin.route import NoBody, NoParams, Route
from meshwright.control_plane.api.models.instances import InstanceList, InstanceStatus


class InstancesRouter:
    """`GET /instances`."""

    def __init__(self, instances: Callable[[], Iterable[InstanceStatus]]) -> None:
        self._instances = instances

    def routes(self) -> tuple[Route, ...]:
        """Its routes."""
        return (
            Route(
                "GET", "/instances", "instances", "Instances", self.instances, InstanceList, read_only=True
            ),
        )

    async def instances(self, _params: NoParams, _body: NoBody) -> InstanceList:
        """Every instance with an unexpired lease."""
        return InstanceList(instances=tuple(self._instances()))
