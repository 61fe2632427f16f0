"""Route: the state of the mesh."""

from __future__ import annotations

from meshwright.control_plane.admin.auth import CALLER_RIGHTS
from meshwright.control_plane.admin.protocols import StatusSource
from meshwright.control_plane.admin.route import NoBody, NoParams, Route
from meshwright.control_plane.api.models.status import Status


class StatusRouter:
    """`GET /status`."""

    def __init__(self, status: StatusSource) -> None:
        self._status = status

    def routes(self) -> tuple[Route, ...]:
        """Its routes."""
        return (Route("GET", "/status", "status", "State of the mesh", self.status, Status, read_only=True),)

    async def status(self, _params: NoParams, _body: NoBody) -> Status:
        """Revision, store, services, proxies, the conditions of every policy, and the caller's rights."""
        return (await self._status()).model_copy(update={"rights": CALLER_RIGHTS.get()})
