"""Route of what policies refuse."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from meshwright.control_plane.admin.route import NoBody, NoParams, Route
from meshwright.control_plane.api.models.refusals import RefusalList


class RefusalsRouter:
    """`/refusals`."""

    def __init__(self, refusals: Callable[[], Awaitable[RefusalList]]) -> None:
        self._refusals = refusals

    def routes(self) -> tuple[Route, ...]:
        """Its routes."""
        return (
            Route("GET", "/refusals", "refusals", "Requests", self.refusals, RefusalList, read_only=True),
        )

    async def refusals(self, _params: NoParams, _body: NoBody) -> RefusalList:
        """What policies refused within the last quarter of an hour, by caller, service and policy."""
        return await self._refusals()
