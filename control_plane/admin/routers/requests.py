"""Route of single requests, from the proxies' logs."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from meshwright.control_plane.admin.protocols import Clock, RequestReader
from meshwright.control_plane.admin.route import NoBody, RequestParams, Route
from meshwright.control_plane.api.models.requests import RequestList
from meshwright.control_plane.policies.duration import Duration

MAX_REQUESTS = 500
"""Requests in one response."""


class RequestsParams(RequestParams):
    service: str = Field("", max_length=63, description="Logged by its proxies, or sent to it.")
    errors: bool = Field(False, description="Only failed requests.")
    since: Duration | None = Field(None, description="Only requests that began within this time, e.g. 5m.")
    limit: int = Field(50, ge=1, le=MAX_REQUESTS, description="Maximum number of requests.")


class RequestsRouter:
    """`/requests`."""

    def __init__(self, requests: RequestReader, *, now: Clock) -> None:
        self._requests = requests
        self._now = now

    def routes(self) -> tuple[Route, ...]:
        """Its routes."""
        return (
            Route(
                "GET", "/requests", "requests", "Requests", self.requests, RequestList,
                params=RequestsParams, read_only=True,
            ),
        )  # fmt: skip

    async def requests(self, params: RequestsParams, _body: NoBody) -> RequestList:
        """Logged requests, newest first: those that failed, took a second or more, or were tapped."""
        since = self._now() - params.since / timedelta(seconds=1) if params.since else 0.0
        requests = await self._requests.recent(
            params.limit, service=params.service, errors=params.errors, since=since
        )
        return RequestList(requests=requests)
