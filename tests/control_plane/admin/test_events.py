"""Events over HTTP: as JSON, and as a stream of server-sent events."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from meshwright.control_plane.admin import server
from meshwright.control_plane.admin.routers.events import KEEPALIVE, EventsRouter
from meshwright.control_plane.admin.token_files import ensure_token
from meshwright.control_plane.api.models.events import Event, event_sort_key
from meshwright.control_plane.errors import OverloadedError, StoreError
from tests.control_plane.store.samples import until


def event(number: int, kind: str = "lease") -> Event:
    return Event(id=f"{number}-0", time=number, kind=kind, subject="a", message=f"line\n{number}")


@dataclass
class FakeEvents:
    """Events in memory, oldest first; `error` is raised instead. `followers`: open streams."""

    events: list[Event] = field(default_factory=list)
    error: Exception | None = None
    followers: int = 0
    added: asyncio.Event = field(default_factory=asyncio.Event)

    async def newest(self, limit: int, before: str, kind: str) -> Sequence[Event]:
        if self.error:
            raise self.error
        of_kind = [event for event in self.events if kind in ("", event.kind)]
        older = [e for e in of_kind if not before or event_sort_key(e.id) < event_sort_key(before)]
        return older[::-1][:limit]

    async def follow(self, after: str) -> AsyncIterator[Event | None]:
        if self.error:
            raise self.error
        self.followers += 1
        position = len(self.events)
        if after:
            position = sum(event_sort_key(e.id) <= event_sort_key(after) for e in self.events)
        try:
            yield None
            while True:
                while position < len(self.events):
                    yield self.events[position]
                    position += 1
                try:
                    async with asyncio.timeout(0.1):
                        await self.added.wait()
                except TimeoutError:
                    yield None
                self.added.clear()
        finally:
            self.followers -= 1

    def add(self, *events: Event) -> None:
        self.events.extend(events)
        self.added.set()


@dataclass
class Running:
    """A server over fake events, a session with its token, and seconds by which its clock is ahead."""

    events: FakeEvents
    session: aiohttp.ClientSession
    server: server.RunningServer
    clock_offset: float = 0

    def stream(self, last: str = "", query: str = "") -> Any:
        """An open event stream."""
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last} if last else {})}
        return self.session.get(f"/api/v1/events{query}", headers=headers)


@asynccontextmanager
async def running_server(state: Path) -> AsyncIterator[Running]:
    events = FakeEvents()
    router = EventsRouter(events, monotonic=lambda: time.monotonic() + running.clock_offset)
    token = ensure_token(state)
    started = await server.start((router,), token, bind="127.0.0.1", port=0)
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{started.port}", headers=headers) as session:
        running = Running(events, session, started)
        yield running
    await started.stop()


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path / "state") as running:
        yield running


async def block(response: aiohttp.ClientResponse) -> list[str]:
    """The lines of the next block."""
    async with asyncio.timeout(20):
        return (await response.content.readuntil(b"\n\n")).decode().splitlines()[:-1]


async def test_events_are_listed_newest_first_by_pages_and_kinds(api: Running) -> None:
    api.events.add(*(event(number, "svid" if number == 2 else "lease") for number in range(1, 5)))

    async def ids(query: str) -> list[str]:
        async with api.session.get(f"/api/v1/events{query}") as response:
            assert (response.status, response.content_type) == (200, "application/json")
            return [event["id"] for event in (await response.json())["events"]]

    assert await ids("") == ["4-0", "3-0", "2-0", "1-0"]
    assert await ids("?limit=2") == ["4-0", "3-0"]
    assert await ids("?limit=2&before=3-0") == ["2-0", "1-0"]
    assert await ids("?kind=svid") == ["2-0"]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "before=x", "before=1", "kind=nonsense", "more=1"]
)
async def test_invalid_parameters_are_a_400(api: Running, query: str) -> None:
    for accept in ("application/json", "text/event-stream"):
        async with api.session.get(f"/api/v1/events?{query}", headers={"Accept": accept}) as response:
            assert (response.status, (await response.json())["error"]["code"]) == (400, "invalid")


async def test_a_stream_sends_new_events(api: Running) -> None:
    api.events.add(event(1))
    async with api.stream() as response:
        assert response.content_type == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-store"
        assert await block(response) == ["retry: 1000"]
        api.events.add(event(2, "nack"))
        first, second, third = await block(response)
        assert (first, second) == ("id: 2-0", "event: nack")
        assert Event.model_validate(json.loads(third.removeprefix("data: "))) == event(2, "nack")


async def test_a_stream_resumes_after_the_callers_last_event_id(api: Running) -> None:
    api.events.add(*(event(number) for number in range(1, 4)))
    async with api.stream("1-0") as response:
        await block(response)
        assert [(await block(response))[0] for _ in range(2)] == ["id: 2-0", "id: 3-0"]


async def test_a_stream_of_one_kind_contains_no_other(api: Running) -> None:
    async with api.stream(query="?kind=svid") as response:
        await block(response)
        api.events.add(event(1), event(2, "svid"), event(3))
        assert (await block(response))[0] == "id: 2-0"


async def test_an_idle_stream_sends_a_comment(api: Running) -> None:
    async with api.stream() as response:
        await block(response)
        api.clock_offset += KEEPALIVE
        assert await block(response) == [": nothing new"]
        api.events.add(event(1))
        assert (await block(response))[0] == "id: 1-0"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(StoreError("unavailable"), 503, "store-unavailable"), (OverloadedError("too many"), 503, "busy")],
)
async def test_an_error_before_the_first_event_is_an_error_response(
    api: Running, error: Exception, status: int, code: str
) -> None:
    api.events.error = error
    async with api.stream() as response:
        assert (response.status, (await response.json())["error"]["code"]) == (status, code)
        assert response.headers.get("Retry-After", "") == ("5" if code == "busy" else "")


async def test_a_malformed_last_event_id_is_a_400(api: Running) -> None:
    async with api.stream("nonsense") as response:
        assert response.status == 400
        assert "Last-Event-ID" in (await response.json())["error"]["message"]


async def test_a_stream_requires_the_token(api: Running) -> None:
    url = f"http://127.0.0.1:{api.server.port}/api/v1/events"
    async with (
        aiohttp.ClientSession() as anonymous,
        anonymous.get(url, headers={"Accept": "text/event-stream"}) as response,
    ):
        assert response.status == 401


async def test_a_disconnect_ends_the_subscription(api: Running) -> None:
    async with api.stream() as response:
        await block(response)
        assert api.events.followers == 1
        response.close()

    async def no_followers() -> bool:
        return not api.events.followers

    await until(no_followers)


async def test_streams_end_immediately_when_the_server_stops(api: Running) -> None:
    async with api.stream() as response:
        await block(response)
        started = time.monotonic()
        await api.server.stop()
        assert time.monotonic() - started < 1.9, "before aiohttp's shutdown timeout of 2 s"
        assert await response.content.read() == b""
    assert api.events.followers == 0
