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

from meshwright.control_plane.api.client import Client
from meshwright.control_plane.api.errors import ApiError, UnreachableError
from meshwright.control_plane.api.mesh_locator import ApiEndpoint
from meshwright.control_plane.api.models.events import Event, event_sort_key
from meshwright.control_plane.errors import MeshError
from meshwright.tui.mesh_state import DashboardState, StateField

Result = TypeVar("Result")

POLL_SECONDS: Mapping[StateField, float] = {
    "status": 1.0,
    "topology": 0.5,
    "services": 0.5,
    "instances": 1.0,
    "proxies": 1.0,
    "policies": 5.0,
    "revisions": 5.0,
}
"""Seconds between two askings. What changes with the revision alone is asked for at once when that does."""

REVISION_FIELDS: frozenset[StateField] = frozenset({"policies", "revisions"})
HEADER_FIELDS: frozenset[StateField] = frozenset({"status", "topology"})
"""What the header shows."""

REQUEST_TIMEOUT = 5.0
"""Seconds an answer may take before the admin API counts as away."""

RECONNECT_SECONDS = 1.0
"""Seconds between two tries to find an admin API that is away."""

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

REVISION_LIMIT = 50
"""Revisions that are asked for: the newest."""

FETCHERS: Mapping[StateField, Callable[[Client], Awaitable[Any]]] = {
    "status": lambda client: client.status(),
    "topology": lambda client: client.topology(),
    "services": lambda client: client.services(),
    "instances": lambda client: client.instances(),
    "proxies": lambda client: client.proxies(),
    "policies": lambda client: client.policies(),
    "revisions": lambda client: client.history(REVISION_LIMIT),
}


class MeshPoller:
    """Keeps the newest picture.

    `find` says where the admin API is, `publish` is told of each new picture, `now` gives seconds since the
    epoch.
    """

    def __init__(
        self,
        locate: Callable[[], ApiEndpoint],
        publish: Callable[[DashboardState], None],
        now: Callable[[], float],
    ) -> None:
        self._now = now
        self._locate = locate
        self._publish = publish
        self._endpoint: ApiEndpoint | None = None
        self._client: Client | None = None
        self._session = AsyncExitStack()
        self._wake = asyncio.Event()
        self._due: dict[StateField, float] = {}
        self._fields = HEADER_FIELDS
        self.state = DashboardState()

    def subscribe(self, parts: frozenset[StateField]) -> None:
        """What the screen on top shows, from now on; parts that are new are asked for at once."""
        self._fields = HEADER_FIELDS | parts
        self._wake.set()

    def refresh_now(self) -> None:
        """Ask for everything again now: something was changed."""
        self._due.clear()
        self._wake.set()

    async def run(self) -> None:
        """Ask for ever; cancelling it ends it."""
        try:
            while True:
                self._wake.clear()
                await self._poll_due()
                soonest = min((self._due.get(part, 0.0) for part in self._fields), default=0.0)
                await self._wait(max(0.02, soonest - time.monotonic()))
        finally:
            await self._session.aclose()

    async def call(self, request: Callable[[Client], Awaitable[Result]]) -> Result:
        """The answer to one call; raises MeshError when the admin API is away or refuses."""
        return await request(await self._connect())

    async def events(self, limit: int) -> AsyncIterator[Event | tuple[Event, ...]]:
        """The newest events at once, newest first, then every one as it comes, for ever.

        While the admin API is away nothing comes; then what was missed, and where that is more than it keeps
        in one piece, all of the newest once more.
        """
        last = ""
        while True:
            try:
                client = await self._connect()
                newest = await client.events(limit)
                if not last or (newest and event_sort_key(newest[-1].id) > event_sort_key(last)):
                    last = newest[0].id if newest else "0-0"
                    yield newest
                async for event in client.follow_events(last):
                    if event is not None:
                        last = event.id
                        yield event
            except (MeshError, OSError, RuntimeError):
                pass
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _poll_due(self) -> None:
        """Ask for every part that is due and tell of what came."""
        now = time.monotonic()
        due = [part for part in sorted(self._fields) if self._due.get(part, 0.0) <= now]
        if not due:
            return
        try:
            await self._connect()
        except (MeshError, OSError) as error:
            await self._mark_unreachable(str(error), due)
            return
        answers = await asyncio.gather(*(self._fetch(part) for part in due))
        away = next((words for words in answers if words), "")
        if away:
            await self._mark_unreachable(away, due)
            return
        self.state = replace(self.state, outage="", outage_since=0.0)
        self._publish(self.state)

    async def _fetch(self, part: StateField) -> str:
        """Take one part into the picture; returns why nobody answered, empty when somebody did."""
        asked, began = self._now(), time.monotonic()
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                value = await self.call(FETCHERS[part])
        except TimeoutError:
            return f"no answer within {REQUEST_TIMEOUT:g} s"
        except UnreachableError as error:
            return str(error)
        except ApiError as error:
            if error.status == 401:
                return "it refuses the token"
            self._again(part, began)
            self.state = replace(self.state, errors={**self.state.errors, part: str(error)})
            return ""
        self._again(part, began)
        self._take(part, value, asked)
        return ""

    def _again(self, part: StateField, began: float) -> None:
        took = time.monotonic() - began
        self._due[part] = began + max(POLL_SECONDS[part], took * 5)

    def _take(self, part: StateField, value: Any, asked: float) -> None:
        before = self.state
        faults = {name: words for name, words in before.errors.items() if name != part}
        fetched = {**before.fetched, part: asked}
        changes: dict[str, Any] = {part: value, "fetched": fetched, "faults": faults, "mesh": self._name()}
        self.state = replace(before, **changes)
        if part == "status" and before.status and before.status.revision != value.revision:
            for each in REVISION_FIELDS:
                self._due.pop(each, None)

    def _name(self) -> str:
        """The mesh by its address; one on this machine by its port."""
        if self._endpoint is None:
            return ""
        parts = urlsplit(self._endpoint.url)
        return f"local:{parts.port}" if parts.hostname in LOOPBACK else parts.netloc

    async def _mark_unreachable(self, words: str, due: list[StateField]) -> None:
        """Nobody answers: say so, and look for the mesh anew, since it may have other ports or tokens."""
        since = self.state.outage_since or self._now()
        self.state = replace(self.state, outage=words, outage_since=since)
        self._publish(self.state)
        await self._disconnect()
        self._due.update(dict.fromkeys(due, time.monotonic() + RECONNECT_SECONDS))

    async def _connect(self) -> Client:
        if self._client is None:
            self._endpoint = await asyncio.to_thread(self._locate)
            if self._client is None:
                self._client = await self._session.enter_async_context(Client(self._endpoint))
        return self._client

    async def _disconnect(self) -> None:
        self._client = None
        await self._session.aclose()
