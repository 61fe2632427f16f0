"""The stream of a service's live requests. While somebody listens its proxies tell all of theirs.

They are asked to for a short time, again and again, so that it ends by itself whatever becomes of the
listener, of this control plane, or of the way to the proxies.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from pydantic import Field

from control_plane.admin.mesh import Mesh
from control_plane.admin.routes import PathAndQuery, Route
from control_plane.api.requested import Request, Requests, Tap, Tapped
from control_plane.api.types import Name
from control_plane.errors import MeshError, NotFoundError

LASTS, RENEWED, SOON = 10, 4.0, 1.0
"""Seconds for which proxies are asked to tell everything, after which they are asked again, and after which
when none does: after a restart sidecars come back one by one."""

LOOK = 0.25
"""Seconds between two looks for what came."""

RATE = 200
"""Requests a second that a listener is shown; the rest is counted."""

KEEPALIVE = 15.0
"""Seconds without a request after which a comment is sent."""

RECENT = 50
"""Requests in the answer to who does not listen."""


class TapParams(PathAndQuery):
    service: Name = Field(description="The service or gateway that takes the requests in.")
    errors: bool = Field(False, description="Only those that failed.")
    method: str = Field("", max_length=20, description="Only those with this method.")
    path: str = Field("", max_length=512, description="Only those whose path begins so.")
    caller: str = Field("", max_length=63, description="Only those of this service or gateway.")


async def recent(mesh: Mesh, params: TapParams, _body: object) -> Requests:
    """What is kept of the service's requests. With `Accept: text/event-stream` they are sent as they come."""
    _proxies(mesh, params.service)
    return Requests(requests=await mesh.requests.listed(RECENT, service=params.service, errors=params.errors))


class Listening:
    """The asks of one listener: who tells everything, and whether that changed since it was last told."""

    def __init__(self, mesh: Mesh, service: str) -> None:
        self._mesh = mesh
        self._service = service
        self._again = 0.0
        self._asking: asyncio.Task[None] | None = None
        self._state: Tapped | None = None
        self.news: Tapped | None = None

    def renew(self) -> None:
        """Ask again when it is time."""
        now = self._mesh.now()
        if now >= self._again and (self._asking is None or self._asking.done()):
            self._again = now + RENEWED
            self._asking = asyncio.create_task(self._ask())

    async def end(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._asking

    async def _ask(self) -> None:
        proxies = _proxies(self._mesh, self._service)
        answers = await asyncio.gather(*(self._one(name) for name in proxies))
        silent = tuple(name for name, told in zip(proxies, answers, strict=True) if not told)
        state = Tapped(proxies=len(proxies), listening=len(proxies) - len(silent), silent=silent)
        if not state.listening:
            self._again = min(self._again, self._mesh.now() + SOON)
        if state != self._state:
            self._state = self.news = state

    async def _one(self, proxy: str) -> bool:
        try:
            await self._mesh.ask(proxy, "tap", str(LASTS))
        except MeshError:
            return False
        return True


async def stream(mesh: Mesh, params: TapParams, _last: str) -> AsyncIterator[str]:
    """The text of an event stream of `Tapped`; raises NotFoundError for a service that has no proxy."""
    _proxies(mesh, params.service)
    tap = Tap(**params.model_dump())
    heard = await mesh.requests.heard(tap, {}, 0)
    listening = Listening(mesh, params.service)
    looked = sent = mesh.now()
    room = float(RATE)
    yield ": listening\n\n"
    try:
        while True:
            listening.renew()
            await mesh.pause(LOOK)
            now = mesh.now()
            room = min(float(RATE), room + RATE * (now - looked))
            looked = now
            heard = await mesh.requests.heard(tap, heard.marks, int(room))
            room -= len(heard.requests)
            text = _state(listening) + _events(heard.requests, heard.more)
            if not text and now - sent >= KEEPALIVE:
                text = ": nothing new\n\n"
            sent = now if text else sent
            yield text
    finally:
        await listening.end()


def _state(listening: Listening) -> str:
    news, listening.news = listening.news, None
    return _event("state", news) if news else ""


def _events(requests: tuple[Request, ...], more: int) -> str:
    text = "".join(_event("request", Tapped(request=one)) for one in requests)
    return text + (_event("more", Tapped(more=more)) if more else "")


def _event(name: str, told: Tapped) -> str:
    return f"event: {name}\ndata: {told.model_dump_json(by_alias=True)}\n\n"


def _proxies(mesh: Mesh, service: str) -> tuple[str, ...]:
    """The connected proxies of a service or gateway; raises NotFoundError when it never had one."""
    known = [one for one in mesh.proxies() if one.service == service]
    if not known:
        raise NotFoundError(f"no proxy of {service} is known: see `mesh proxies`")
    return tuple(one.name for one in known if one.connected)


ROUTES = (
    Route(
        "GET", "/tap/{service}", "tap", "Live requests of a service", recent, Requests,
        params=TapParams, errors=(404,), stream=stream,
    ),
)  # fmt: skip
