"""The dashboard's eye: asks the admin API for what the screen on top needs, and never blocks the interface.

Every part has its own pace, and an answer that takes long is asked for less often, so that asking never takes
more than a fifth of the time. Policies and revisions are asked for when the status names another revision.
When nobody answers the last picture stays, marked as such, and the mesh is looked for anew until it is back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

from control_plane.api.client import AdminClient
from control_plane.api.discovery import Endpoint
from control_plane.api.failures import ApiError, UnreachableError
from control_plane.api.happened import Event, order
from control_plane.errors import MeshError
from tui.picture import Part, Picture

Answer = TypeVar("Answer")

PACE: Mapping[Part, float] = {
    "status": 1.0,
    "topology": 0.5,
    "services": 0.5,
    "instances": 1.0,
    "proxies": 1.0,
    "policies": 5.0,
    "revisions": 5.0,
}
"""Seconds between two askings. What changes with the revision alone is asked for at once when that does."""

BY_REVISION: frozenset[Part] = frozenset({"policies", "revisions"})
ALWAYS: frozenset[Part] = frozenset({"status", "topology"})
"""What the header shows."""

PATIENCE = 5.0
"""Seconds an answer may take before the admin API counts as away."""

AGAIN = 1.0
"""Seconds between two tries to find an admin API that is away."""

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

REVISIONS = 50
"""Revisions that are asked for: the newest."""

CALLS: Mapping[Part, Callable[[AdminClient], Awaitable[Any]]] = {
    "status": lambda client: client.status(),
    "topology": lambda client: client.topology(),
    "services": lambda client: client.services(),
    "instances": lambda client: client.instances(),
    "proxies": lambda client: client.proxies(),
    "policies": lambda client: client.policies(),
    "revisions": lambda client: client.history(REVISIONS),
}


class Source:
    """Keeps the newest picture.

    `find` says where the admin API is, `publish` is told of each new picture, `now` gives seconds since the
    epoch.
    """

    def __init__(
        self, find: Callable[[], Endpoint], publish: Callable[[Picture], None], now: Callable[[], float]
    ) -> None:
        self._now = now
        self._find = find
        self._publish = publish
        self._endpoint: Endpoint | None = None
        self._client: AdminClient | None = None
        self._session = AsyncExitStack()
        self._wake = asyncio.Event()
        self._due: dict[Part, float] = {}
        self._needs = ALWAYS
        self.picture = Picture()

    def need(self, parts: frozenset[Part]) -> None:
        """What the screen on top shows, from now on; parts that are new are asked for at once."""
        self._needs = ALWAYS | parts
        self._wake.set()

    def hurry(self) -> None:
        """Ask for everything again now: something was changed."""
        self._due.clear()
        self._wake.set()

    async def run(self) -> None:
        """Ask for ever; cancelling it ends it."""
        try:
            while True:
                self._wake.clear()
                await self._round()
                soonest = min((self._due.get(part, 0.0) for part in self._needs), default=0.0)
                await self._pause(max(0.02, soonest - time.monotonic()))
        finally:
            await self._session.aclose()

    async def ask(self, call: Callable[[AdminClient], Awaitable[Answer]]) -> Answer:
        """The answer to one call; raises MeshError when the admin API is away or refuses."""
        return await call(await self._connected())

    async def happenings(self, limit: int) -> AsyncIterator[Event | tuple[Event, ...]]:
        """The newest events at once, newest first, then every one as it comes, for ever.

        While the admin API is away nothing comes; then what was missed, and where that is more than it keeps
        in one piece, all of the newest once more.
        """
        last = ""
        while True:
            try:
                client = await self._connected()
                newest = await client.events(limit)
                if not last or (newest and order(newest[-1].id) > order(last)):
                    last = newest[0].id if newest else "0-0"
                    yield newest
                async for event in client.follow(last):
                    if event is not None:
                        last = event.id
                        yield event
            except (MeshError, OSError, RuntimeError):
                pass
            await asyncio.sleep(AGAIN)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _round(self) -> None:
        """Ask for every part that is due and tell of what came."""
        now = time.monotonic()
        due = [part for part in sorted(self._needs) if self._due.get(part, 0.0) <= now]
        if not due:
            return
        try:
            await self._connected()
        except (MeshError, OSError) as error:
            await self._lost(str(error), due)
            return
        answers = await asyncio.gather(*(self._part(part) for part in due))
        away = next((words for words in answers if words), "")
        if away:
            await self._lost(away, due)
            return
        self.picture = replace(self.picture, away="", since=0.0)
        self._publish(self.picture)

    async def _part(self, part: Part) -> str:
        """Take one part into the picture; returns why nobody answered, empty when somebody did."""
        asked, began = self._now(), time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                value = await self.ask(CALLS[part])
        except TimeoutError:
            return f"no answer within {PATIENCE:g} s"
        except UnreachableError as error:
            return str(error)
        except ApiError as error:
            if error.status == 401:
                return "it refuses the token"
            self._again(part, began)
            self.picture = replace(self.picture, faults={**self.picture.faults, part: str(error)})
            return ""
        self._again(part, began)
        self._take(part, value, asked)
        return ""

    def _again(self, part: Part, began: float) -> None:
        took = time.monotonic() - began
        self._due[part] = began + max(PACE[part], took * 5)

    def _take(self, part: Part, value: Any, asked: float) -> None:
        before = self.picture
        faults = {name: words for name, words in before.faults.items() if name != part}
        fetched = {**before.fetched, part: asked}
        changes: dict[str, Any] = {part: value, "fetched": fetched, "faults": faults, "mesh": self._name()}
        self.picture = replace(before, **changes)
        if part == "status" and before.status and before.status.revision != value.revision:
            for each in BY_REVISION:
                self._due.pop(each, None)

    def _name(self) -> str:
        """The mesh by its address; one on this machine by its port."""
        if self._endpoint is None:
            return ""
        parts = urlsplit(self._endpoint.url)
        return f"local:{parts.port}" if parts.hostname in LOOPBACK else parts.netloc

    async def _lost(self, words: str, due: list[Part]) -> None:
        """Nobody answers: say so, and look for the mesh anew, since it may have other ports or tokens."""
        since = self.picture.since or self._now()
        self.picture = replace(self.picture, away=words, since=since)
        self._publish(self.picture)
        await self._leave()
        self._due.update(dict.fromkeys(due, time.monotonic() + AGAIN))

    async def _connected(self) -> AdminClient:
        if self._client is None:
            self._endpoint = await asyncio.to_thread(self._find)
            if self._client is None:
                self._client = await self._session.enter_async_context(AdminClient(self._endpoint))
        return self._client

    async def _leave(self) -> None:
        self._client = None
        await self._session.aclose()
