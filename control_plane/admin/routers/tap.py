"""Route: the live requests of a service. While a caller listens, the service's proxies report every request.

A proxy reports every request for a few seconds after each tap command. The commands are repeated while the
caller listens, so that a tap ends by itself if the caller, the control plane or the network fails.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

from pydantic import Field

from meshwright.control_plane.admin.protocols import Clock, ProxySource, RequestReader, RunCommand, Sleep
from meshwright.control_plane.admin.route import NoBody, RequestParams, Route
from meshwright.control_plane.api.models.base import Name
from meshwright.control_plane.api.models.requests import Request, RequestList, TapEvent, TapFilter
from meshwright.control_plane.errors import MeshError, NotFoundError
from meshwright.control_plane.policies.validation_messages import suggestion

TAP_SECONDS = 10
"""Seconds for which a proxy reports every request after a tap command."""

RENEW_SECONDS = 4.0
"""Seconds until the command is repeated."""

RETRY_SECONDS = 1.0
"""The same if no proxy responded: after a restart sidecars reconnect one by one."""

POLL_SECONDS = 0.25
"""Seconds between two looks for new requests."""

MAX_REQUESTS_PER_SECOND = 200
"""Requests per second that a caller receives; the others are counted."""

KEEPALIVE = 15.0
"""Seconds without a request after which a comment is sent."""

RECENT_LIMIT = 50
"""Requests in a response that is not a stream."""


class TapParams(RequestParams):
    service: Name = Field(description="The service or gateway that receives the requests.")
    errors: bool = Field(False, description="Only failed requests.")
    method: str = Field("", max_length=20, description="Only requests with this method.")
    path: str = Field("", max_length=512, description="Only requests whose path starts with this.")
    caller: str = Field("", max_length=63, description="Only requests from this service or gateway.")


class TapRouter:
    """`/tap/{service}`."""

    def __init__(
        self,
        requests: RequestReader,
        proxies: ProxySource,
        run_command: RunCommand,
        name_refusals: Callable[[Sequence[Request]], tuple[Request, ...]],
        *,
        monotonic: Clock,
        sleep: Sleep,
    ) -> None:
        self._requests = requests
        self._proxies = proxies
        self._run_command = run_command
        self._name_refusals = name_refusals
        self._monotonic = monotonic
        self._sleep = sleep

    def routes(self) -> tuple[Route, ...]:
        """Its routes."""
        return (
            Route(
                "GET", "/tap/{service}", "tap", "Live requests of a service", self.recent, RequestList,
                params=TapParams, errors=(404,), stream=self.stream,
            ),
        )  # fmt: skip

    async def recent(self, params: TapParams, _body: NoBody) -> RequestList:
        """Recent requests of the service. With `Accept: text/event-stream`: its requests as they arrive."""
        _connected_proxies(self._proxies, params.service)
        requests = await self._requests.recent(RECENT_LIMIT, service=params.service, errors=params.errors)
        return RequestList(requests=self._name_refusals(requests))

    async def stream(self, params: TapParams, _last_event_id: str) -> AsyncIterator[str]:
        """The text of a stream of TapEvents; raises NotFoundError for a service without a proxy."""
        _connected_proxies(self._proxies, params.service)
        tap = TapFilter(**params.model_dump())
        page = await self._requests.tap(tap, {}, 0)
        session = TapSession(self._proxies, self._run_command, params.service, self._monotonic)
        last_poll = last_sent = self._monotonic()
        allowance = float(MAX_REQUESTS_PER_SECOND)
        yield ": listening\n\n"
        try:
            while True:
                session.renew()
                await self._sleep(POLL_SECONDS)
                now = self._monotonic()
                refill = MAX_REQUESTS_PER_SECOND * (now - last_poll)
                allowance = min(float(MAX_REQUESTS_PER_SECOND), allowance + refill)
                last_poll = now
                page = await self._requests.tap(tap, page.cursor, int(allowance))
                allowance -= len(page.requests)
                requests = self._name_refusals(page.requests)
                text = _state_event(session) + _request_events(requests, page.omitted)
                if not text and now - last_sent >= KEEPALIVE:
                    text = ": nothing new\n\n"
                last_sent = now if text else last_sent
                yield text
        finally:
            await session.stop()


class TapSession:
    """Keeps the proxies of a service tapped for one caller. `update`: a state that it has not been sent."""

    def __init__(self, proxies: ProxySource, run_command: RunCommand, service: str, monotonic: Clock) -> None:
        self._proxies = proxies
        self._run_command = run_command
        self._service = service
        self._monotonic = monotonic
        self._next_renewal = 0.0
        self._task: asyncio.Task[None] | None = None
        self._state: TapEvent | None = None
        self.update: TapEvent | None = None

    def renew(self) -> None:
        """Tap the proxies again if it is time."""
        now = self._monotonic()
        if now >= self._next_renewal and (self._task is None or self._task.done()):
            self._next_renewal = now + RENEW_SECONDS
            self._task = asyncio.create_task(self._tap_all())

    async def stop(self) -> None:
        """Stop renewing."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _tap_all(self) -> None:
        names = _connected_proxies(self._proxies, self._service)
        results = await asyncio.gather(*(self._tap_proxy(name) for name in names))
        not_tapping = tuple(name for name, tapping in zip(names, results, strict=True) if not tapping)
        state = TapEvent(proxies=len(names), tapping=len(names) - len(not_tapping), not_tapping=not_tapping)
        if not state.tapping:
            self._next_renewal = min(self._next_renewal, self._monotonic() + RETRY_SECONDS)
        if state != self._state:
            self._state = self.update = state

    async def _tap_proxy(self, name: str) -> bool:
        try:
            await self._run_command(name, "tap", str(TAP_SECONDS), self._service)
        except MeshError:
            return False
        return True


def _state_event(session: TapSession) -> str:
    update, session.update = session.update, None
    return _sse_text("state", update) if update else ""


def _request_events(requests: tuple[Request, ...], omitted: int) -> str:
    text = "".join(_sse_text("request", TapEvent(request=request)) for request in requests)
    return text + (_sse_text("more", TapEvent(omitted=omitted)) if omitted else "")


def _sse_text(name: str, event: TapEvent) -> str:
    return f"event: {name}\ndata: {event.model_dump_json(by_alias=True)}\n\n"


def _connected_proxies(proxies: ProxySource, service: str) -> tuple[str, ...]:
    """The connected proxies of a service or gateway; raises NotFoundError if it has none at all."""
    all_proxies = tuple(proxies())
    of_service = [proxy for proxy in all_proxies if proxy.service == service]
    if not of_service:
        names = sorted({proxy.service for proxy in all_proxies})
        advice = suggestion(service, names, "see `mesh topology`")
        raise NotFoundError(f"no such service or gateway: {service}: {advice}")
    return tuple(proxy.name for proxy in of_service if proxy.connected)
