"""Polls the admin API for the fields that the current screen needs, without blocking the user interface.

Each field has its own interval. A slow response lengthens it, so that polling takes at most a fifth of the
time. Policies and revisions are fetched at once when the status reports another revision. During an outage
the last state stays, marked as stale, and the mesh is located again until it responds.
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
from meshwright.control_plane.api.models.rollouts import RolloutStatus
from meshwright.control_plane.api.models.topology import Topology
from meshwright.control_plane.errors import MeshError
from meshwright.tui.mesh_state import DashboardState, StateField, active_topology

Result = TypeVar("Result")

POLL_SECONDS: Mapping[StateField, float] = {
    "status": 1.0,
    "topology": 0.5,
    "services": 0.5,
    "instances": 1.0,
    "proxies": 1.0,
    "policies": 5.0,
    "revisions": 5.0,
    "refusals": 1.0,
    "rollouts": 1.0,
}
"""Seconds between two requests for a field."""

REVISION_FIELDS: frozenset[StateField] = frozenset({"policies", "revisions"})
"""Fields that are fetched at once when the revision changes."""

HEADER_FIELDS: frozenset[StateField] = frozenset({"status", "topology"})
"""Fields that the header of every screen shows."""

REQUEST_TIMEOUT = 5.0
"""Seconds without a response after which the admin API counts as unreachable."""

RECONNECT_SECONDS = 1.0
"""Seconds between two attempts to reach the admin API."""

SLOW_FACTOR = 5
"""The interval of a field is at least this many times the duration of its last request."""

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

REVISION_LIMIT = 50
"""Revisions that are fetched, newest first."""


async def _active_topology(client: Client) -> Topology:
    return active_topology(await client.topology())


async def _rollouts(client: Client) -> tuple[RolloutStatus, ...]:
    return (await client.rollouts()).rollouts


FETCHERS: Mapping[StateField, Callable[[Client], Awaitable[Any]]] = {
    "status": lambda client: client.status(),
    "topology": _active_topology,
    "services": lambda client: client.services(),
    "instances": lambda client: client.instances(),
    "proxies": lambda client: client.proxies(),
    "policies": lambda client: client.policies(),
    "revisions": lambda client: client.history(REVISION_LIMIT),
    "refusals": lambda client: client.refusals(),
    "rollouts": _rollouts,
}


class MeshPoller:
    """Keeps the latest state.

    `locate` finds the admin API, `publish` receives each new state, `now` returns seconds since the epoch.
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

    def subscribe(self, fields: frozenset[StateField]) -> None:
        """Poll these fields from now on, instead of those subscribed before."""
        self._fields = HEADER_FIELDS | fields
        self._wake.set()

    def refresh_now(self) -> None:
        """Fetch every subscribed field now, for example after a change."""
        self._due.clear()
        self._wake.set()

    async def run(self) -> None:
        """Poll until cancelled."""
        try:
            while True:
                self._wake.clear()
                await self._poll_due()
                next_due = min((self._due.get(field, 0.0) for field in self._fields), default=0.0)
                await self._wait(max(0.02, next_due - time.monotonic()))
        finally:
            await self._session.aclose()

    async def call(self, request: Callable[[Client], Awaitable[Result]]) -> Result:
        """Send one request. Raises MeshError when the admin API is unreachable or returns an error."""
        return await request(await self._connect())

    async def events(self, limit: int) -> AsyncIterator[Event | tuple[Event, ...]]:
        """The `limit` newest events as one tuple, newest first, then each new event as it occurs.

        Reconnects after an outage and yields the events missed meanwhile. If the control plane no longer has
        all of them, it yields the newest again as one tuple.
        """
        last_id = ""
        while True:
            try:
                client = await self._connect()
                newest = await client.events(limit)
                if not last_id or (newest and event_sort_key(newest[-1].id) > event_sort_key(last_id)):
                    last_id = newest[0].id if newest else "0-0"
                    yield newest
                async for event in client.follow_events(last_id):
                    if event is not None:
                        last_id = event.id
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
        """Fetch every field that is due, then publish the state."""
        now = time.monotonic()
        due = [field for field in sorted(self._fields) if self._due.get(field, 0.0) <= now]
        if not due:
            return
        try:
            await self._connect()
        except (MeshError, OSError) as error:
            await self._mark_unreachable(str(error), due)
            return
        outages = await asyncio.gather(*(self._fetch(field) for field in due))
        outage = next((reason for reason in outages if reason), "")
        if outage:
            await self._mark_unreachable(outage, due)
            return
        self.state = replace(self.state, outage="", outage_since=0.0)
        self._publish(self.state)

    async def _fetch(self, field: StateField) -> str:
        """Fetch one field into the state. Returns why the API is unreachable, or an empty string."""
        requested_at, started = self._now(), time.monotonic()
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                value = await self.call(FETCHERS[field])
        except TimeoutError:
            return f"no response within {REQUEST_TIMEOUT:g} s"
        except UnreachableError as error:
            return str(error)
        except ApiError as error:
            if error.status == 401:
                return "it rejected the token"
            self._schedule(field, started)
            self.state = replace(self.state, errors={**self.state.errors, field: str(error)})
            return ""
        self._schedule(field, started)
        self._store(field, value, requested_at)
        return ""

    def _schedule(self, field: StateField, started: float) -> None:
        duration = time.monotonic() - started
        self._due[field] = started + max(POLL_SECONDS[field], duration * SLOW_FACTOR)

    def _store(self, field: StateField, value: Any, requested_at: float) -> None:
        previous = self.state
        changes: dict[str, Any] = {
            field: value,
            "fetched": {**previous.fetched, field: requested_at},
            "errors": {name: message for name, message in previous.errors.items() if name != field},
            "mesh": self._mesh_name(),
        }
        self.state = replace(previous, **changes)
        if field == "status" and previous.status and previous.status.revision != value.revision:
            for name in REVISION_FIELDS:
                self._due.pop(name, None)

    def _mesh_name(self) -> str:
        """The address of the mesh; only the port for one on this host."""
        if self._endpoint is None:
            return ""
        parts = urlsplit(self._endpoint.url)
        return f"local:{parts.port}" if parts.hostname in LOOPBACK else parts.netloc

    async def _mark_unreachable(self, reason: str, due: list[StateField]) -> None:
        """Publish the outage and disconnect: the mesh may come back at another port or with another token."""
        since = self.state.outage_since or self._now()
        self.state = replace(self.state, outage=reason, outage_since=since)
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
