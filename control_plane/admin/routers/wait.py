"""Route: wait for the rollout of a revision."""

from __future__ import annotations

from pydantic import Field

from meshwright.control_plane.admin.protocols import Clock, RevisionLog, Sleep, StatusSource
from meshwright.control_plane.admin.rollout_wait import wait_for_rollout
from meshwright.control_plane.admin.route import NoBody, RequestParams, Route
from meshwright.control_plane.api.models.proxies import WaitResult
from meshwright.control_plane.errors import NotFoundError


class WaitParams(RequestParams):
    revision: int = Field(ge=0, le=2**53)
    timeout: float = Field(30.0, ge=0, le=600, allow_inf_nan=False, description="Maximum wait in seconds.")


class WaitRouter:
    """`GET /wait`."""

    def __init__(
        self, revisions: RevisionLog, status: StatusSource, *, monotonic: Clock, sleep: Sleep
    ) -> None:
        self._revisions = revisions
        self._status = status
        self._monotonic = monotonic
        self._sleep = sleep

    def routes(self) -> tuple[Route, ...]:
        """Its routes."""
        return (
            Route(
                "GET", "/wait", "wait", "Wait until every connected proxy has a revision", self.wait,
                WaitResult, params=WaitParams, errors=(404, 503), read_only=True,
            ),
        )  # fmt: skip

    async def wait(self, params: WaitParams, _body: NoBody) -> WaitResult:
        """Responds once every connected proxy has ACKed the revision, one rejects it, or time is up."""
        newest = (await self._revisions.current()).info.revision
        if params.revision > newest:
            raise NotFoundError(f"no such revision: {params.revision}: the newest is {newest}")
        return await wait_for_rollout(
            self._status, params.revision, params.timeout, monotonic=self._monotonic, sleep=self._sleep
        )
