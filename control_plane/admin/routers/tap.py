"""The stream of a service's live requests. While somebody listens its proxies tell all of theirs.

They are asked to for a short time, again and again, so that it ends by itself whatever becomes of the
listener, of this control plane, or of the way to the proxies.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from pydantic import Field

from meshwright.control_plane.admin.context import AdminContext
from meshwright.control_plane.admin.route import RequestParams, Route
from meshwright.control_plane.api.models.base import Name
from meshwright.control_plane.api.models.requests import Request, RequestList, TapEvent, TapFilter
from meshwright.control_plane.errors import MeshError, NotFoundError

TAP_SECONDS, RENEW_SECONDS, RETRY_SECONDS = 10, 4.0, 1.0
"""Seconds for which proxies are asked to tell everything, after which they are asked again, and after which
when none does: after a restart sidecars come back one by one."""

POLL_SECONDS = 0.25
"""Seconds between two looks for what came."""

MAX_REQUESTS_PER_SECOND = 200
"""Requests a second that a listener is shown; the rest is counted."""

KEEPALIVE = 15.0
"""Seconds without a request after which a comment is sent."""

RECENT_LIMIT = 50
"""Requests in the answer to who does not listen."""


class TapParams(RequestParams):
    service: Name = Field(description="The service or gateway that takes the requests in.")
    errors: bool = Field(False, description="Only those that failed.")
    method: str = Field("", max_length=20, description="Only those with this method.")
    path: str = Field("", max_length=512, description="Only those whose path begins so.")
    caller: str = Field("", max_length=63, description="Only those of this service or gateway.")


async def recent(mesh: AdminContext, params: TapParams, _body: object) -> RequestList:
    """What is kept of the service's requests. With `Accept: text/event-stream` they are sent as they come."""
    _proxies(mesh, params.service)
    return RequestList(
        requests=await mesh.requests.recent(RECENT_LIMIT, service=params.service, errors=params.errors)
    )


class TapSession:
    """The asks of one listener: who tells everything, and whether that changed since it was last told."""

    def __init__(self, mesh: AdminContext, service: str) -> None:
        self._mesh = mesh
        self._service = service
        self._next_renewal = 0.0
        self._task: asyncio.Task[None] | None = None
        self._state: TapEvent | None = None
        self.update: TapEvent | None = None

    def renew(self) -> None:
        """Ask again when it is time."""
        now = self._mesh.now()
        if now >= self._next_renewal and (self._task is None or self._task.done()):
            self._next_renewal = now + RENEW_SECONDS
            self._task = asyncio.create_task(self._tap_all())

    async def stop(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _tap_all(self) -> None:
        proxies = _proxies(self._mesh, self._service)
        answers = await asyncio.gather(*(self._tap_proxy(name) for name in proxies))
        silent = tuple(name for name, told in zip(proxies, answers, strict=True) if not told)
        state = TapEvent(proxies=len(proxies), tapping=len(proxies) - len(silent), not_tapping=silent)
        if not state.tapping:
            self._next_renewal = min(self._next_renewal, self._mesh.now() + RETRY_SECONDS)
        if state != self._state:
            self._state = self.update = state

    async def _tap_proxy(self, proxy: str) -> bool:
        try:
            await self._mesh.run_command(proxy, "tap", str(TAP_SECONDS))
        except MeshError:
            return False
        return True


async def stream(mesh: AdminContext, params: TapParams, _last: str) -> AsyncIterator[str]:
    """The text of an event stream of `Tapped`; raises NotFoundError for a service that has no proxy."""
    _proxies(mesh, params.service)
    tap = TapFilter(**params.model_dump())
    heard = await mesh.requests.tap(tap, {}, 0)
    listening = TapSession(mesh, params.service)
    looked = sent = mesh.now()
    room = float(MAX_REQUESTS_PER_SECOND)
    yield ": listening\n\n"
    try:
        while True:
            listening.renew()
            await mesh.sleep(POLL_SECONDS)
            now = mesh.now()
            room = min(float(MAX_REQUESTS_PER_SECOND), room + MAX_REQUESTS_PER_SECOND * (now - looked))
            looked = now
            heard = await mesh.requests.tap(tap, heard.cursor, int(room))
            room -= len(heard.requests)
            text = _state(listening) + _events(heard.requests, heard.omitted)
            if not text and now - sent >= KEEPALIVE:
                text = ": nothing new\n\n"
            sent = now if text else sent
            yield text
    finally:
        await listening.stop()


def _state(listening: TapSession) -> str:
    news, listening.update = listening.update, None
    return _event("state", news) if news else ""


def _events(requests: tuple[Request, ...], more: int) -> str:
    text = "".join(_event("request", TapEvent(request=one)) for one in requests)
    return text + (_event("more", TapEvent(omitted=more)) if more else "")


def _event(name: str, told: TapEvent) -> str:
    return f"event: {name}\ndata: {told.model_dump_json(by_alias=True)}\n\n"


def _proxies(mesh: AdminContext, service: str) -> tuple[str, ...]:
    """The connected proxies of a service or gateway; raises NotFoundError when it never had one."""
    known = [one for one in mesh.proxies() if one.service == service]
    if not known:
        raise NotFoundError(f"no proxy of {service} is known: see `mesh proxies`")
    return tuple(one.name for one in known if one.connected)


ROUTES = (
    Route(
        "GET", "/tap/{service}", "tap", "Live requests of a service", recent, RequestList,
        params=TapParams, errors=(404,), stream=stream,
    ),
)  # fmt: skip
