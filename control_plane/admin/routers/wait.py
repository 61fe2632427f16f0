"""Route: wait for the ACKs of a revision."""

from __future__ import annotations

import asyncio

from pydantic import Field

from meshwright.control_plane.admin.ack_wait import wait_for_acks
from meshwright.control_plane.admin.protocols import Clock, RevisionLog, Sleep, StatusSource
from meshwright.control_plane.admin.route import NoBody, RequestParams, Route
from meshwright.control_plane.api.models.proxies import WaitResult
from meshwright.control_plane.api.models.status import Status
from meshwright.control_plane.errors import NotFoundError

SHARED_SECONDS = 0.05
"""Below the interval at which a wait polls, so that one that is alone never sees a status twice."""


class WaitParams(RequestParams):
    revision: int = Field(ge=0, le=2**53)
    timeout: float = Field(30.0, ge=0, le=600, allow_inf_nan=False, description="Maximum wait in seconds.")


class SharedStatus:
    """A status that all waits share: each polls ten times a second, and computing one takes milliseconds."""

    def __init__(self, status: StatusSource, monotonic: Clock) -> None:
        self._status = status
        self._monotonic = monotonic
        self._lock = asyncio.Lock()
        self._value: Status | None = None
        self._expires_at = 0.0

    async def __call__(self) -> Status:
        """The status, at most SHARED_SECONDS old."""
        async with self._lock:
            if self._value is None or self._monotonic() >= self._expires_at:
                self._value = await self._status()
                self._expires_at = self._monotonic() + SHARED_SECONDS
            return self._value


class WaitRouter:
    """`GET /wait`."""

    def __init__(
        self, revisions: RevisionLog, status: StatusSource, *, monotonic: Clock, sleep: Sleep
    ) -> None:
        self._revisions = revisions
        self._status = SharedStatus(status, monotonic)
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
        return await wait_for_acks(
            self._status, params.revision, params.timeout, monotonic=self._monotonic, sleep=self._sleep
        )
