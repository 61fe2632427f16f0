"""Route of moments: the mesh as it was."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pydantic import Field

from meshwright.control_plane.admin.route import NoBody, RequestParams, Route
from meshwright.control_plane.api.models.moments import PastMesh

MAX_TIME = 253_402_300_799.0
"""The last second of the year 9999: what a date can say."""


class MomentParams(RequestParams):
    at: float = Field(ge=0, le=MAX_TIME, allow_inf_nan=False, description="A time, in epoch seconds.")


class MomentsRouter:
    """`/moments`."""

    def __init__(self, past: Callable[[float], Awaitable[PastMesh]]) -> None:
        self._past = past

    def routes(self) -> tuple[Route, ...]:
        """Its routes."""
        return (
            Route(
                "GET", "/moments", "moment", "The mesh at a time of the past", self.moment, PastMesh,
                params=MomentParams, errors=(404, 503), read_only=True,
            ),
        )  # fmt: skip

    async def moment(self, params: MomentParams, _body: NoBody) -> PastMesh:
        """The last moment recorded until `at`: service graph, services, verdict, revision, policies, events.

        Moments are recorded every ten seconds, and kept for `MESH_HISTORY_HOURS`: all of the last hour, then
        one a minute.
        """
        return await self._past(params.at)
