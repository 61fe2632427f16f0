"""What happened, over HTTP: as JSON, and as a stream that ends when it should."""

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
from meshwright.control_plane.admin.context import AdminContext
from meshwright.control_plane.admin.routers.events import KEEPALIVE
from meshwright.control_plane.api.models.events import Event, event_sort_key
from meshwright.control_plane.api.models.status import Status
from meshwright.control_plane.errors import OverloadedError, StoreError
from tests.control_plane.store.samples import until
from tests.fakes.admin_server import FakeTokens
from tests.fakes.store import FakeStore


def event(number: int, kind: str = "lease") -> Event:
    return Event(id=f"{number}-0", time=number, kind=kind, subject="a", message=f"line\n{number}")


@dataclass
class FakeEvents:
    """Events in memory, oldest first; `failing` is raised instead."""

    kept: list[Event] = field(default_factory=list)
    failing: Exception | None = None
    following: int = 0
    added: asyncio.Event = field(default_factory=asyncio.Event)

    async def newest(self, limit: int, before: str, kind: str) -> Sequence[Event]:
        if self.failing:
            raise self.failing
        like = [one for one in self.kept if kind in ("", one.kind)]
        older = [one for one in like if not before or event_sort_key(one.id) < event_sort_key(before)]
        return older[::-1][:limit]

    async def follow(self, after: str) -> AsyncIterator[Event | None]:
        if self.failing:
            raise self.failing
        self.following += 1
        position = (
            sum(event_sort_key(one.id) <= event_sort_key(after) for one in self.kept)
            if after
            else len(self.kept)
        )
        try:
            yield None
            while True:
                while position < len(self.kept):
                    yield self.kept[position]
                    position += 1
                try:
                    async with asyncio.timeout(0.1):
                        await self.added.wait()
                except TimeoutError:
                    yield None
                self.added.clear()
        finally:
            self.following -= 1

    def add(self, *events: Event) -> None:
        self.kept.extend(events)
        self.added.set()


@dataclass
class Running:
    """A server over fake events, a session with its token, and the clock that it believes."""

    events: FakeEvents
    session: aiohttp.ClientSession
    server: server.RunningServer
    ahead: float = 0

    def stream(self, last: str = "", query: str = "") -> Any:
        """An open event stream."""
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last} if last else {})}
        return self.session.get(f"/api/v1/events{query}", headers=headers)


async def well() -> Status:
    """The status of a mesh without anything in it."""
    return Status(revision=0, store="ok")


@asynccontextmanager
async def serving(state: Path) -> AsyncIterator[Running]:
    store = FakeStore()
    events = FakeEvents()
    mesh = AdminContext(
        revisions=store,
        status=well,
        instances=list,
        tokens=FakeTokens(),
        now=lambda: time.monotonic() + running.ahead,
        sleep=asyncio.sleep,
        events=events,
    )
    token = server.ensure_token(state)
    started = await server.start(mesh, token, bind="127.0.0.1", port=0)
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{started.port}", headers=headers) as session:
        running = Running(events, session, started)
        yield running
    await started.stop()


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Running]:
    async with serving(tmp_path / "state") as running:
        yield running


async def block(answer: aiohttp.ClientResponse) -> list[str]:
    """The lines of the next block."""
    async with asyncio.timeout(20):
        return (await answer.content.readuntil(b"\n\n")).decode().splitlines()[:-1]


async def test_events_are_listed_newest_first_by_pages_and_kinds(api: Running) -> None:
    api.events.add(*(event(number, "svid" if number == 2 else "lease") for number in range(1, 5)))

    async def ids(query: str) -> list[str]:
        async with api.session.get(f"/api/v1/events{query}") as answer:
            assert (answer.status, answer.content_type) == (200, "application/json")
            return [one["id"] for one in (await answer.json())["events"]]

    assert await ids("") == ["4-0", "3-0", "2-0", "1-0"]
    assert await ids("?limit=2") == ["4-0", "3-0"]
    assert await ids("?limit=2&before=3-0") == ["2-0", "1-0"]
    assert await ids("?kind=svid") == ["2-0"]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "before=x", "before=1", "kind=nonsense", "more=1"]
)
async def test_wrong_parameters_are_refused(api: Running, query: str) -> None:
    for accept in ("application/json", "text/event-stream"):
        async with api.session.get(f"/api/v1/events?{query}", headers={"Accept": accept}) as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (400, "invalid")


async def test_a_stream_sends_what_comes(api: Running) -> None:
    api.events.add(event(1))
    async with api.stream() as answer:
        assert answer.content_type == "text/event-stream"
        assert answer.headers["Cache-Control"] == "no-store"
        assert await block(answer) == ["retry: 1000"]
        api.events.add(event(2, "nack"))
        first, second, third = await block(answer)
        assert (first, second) == ("id: 2-0", "event: nack")
        assert Event.model_validate(json.loads(third.removeprefix("data: "))) == event(2, "nack")


async def test_a_stream_goes_on_after_the_last_event_of_its_caller(api: Running) -> None:
    api.events.add(*(event(number) for number in range(1, 4)))
    async with api.stream("1-0") as answer:
        await block(answer)
        assert [(await block(answer))[0] for _ in range(2)] == ["id: 2-0", "id: 3-0"]


async def test_a_stream_of_one_kind_has_no_other(api: Running) -> None:
    async with api.stream(query="?kind=svid") as answer:
        await block(answer)
        api.events.add(event(1), event(2, "svid"), event(3))
        assert (await block(answer))[0] == "id: 2-0"


async def test_silence_is_broken_by_a_comment(api: Running) -> None:
    async with api.stream() as answer:
        await block(answer)
        api.ahead += KEEPALIVE
        assert await block(answer) == [": nothing new"]
        api.events.add(event(1))
        assert (await block(answer))[0] == "id: 1-0"


@pytest.mark.parametrize(
    ("failing", "status", "code"),
    [(StoreError("away"), 503, "store-unavailable"), (OverloadedError("too many"), 503, "busy")],
)
async def test_what_fails_at_the_start_is_told(
    api: Running, failing: Exception, status: int, code: str
) -> None:
    api.events.failing = failing
    async with api.stream() as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (status, code)
        assert answer.headers.get("Retry-After", "") == ("5" if code == "busy" else "")


async def test_a_wrong_last_id_is_refused(api: Running) -> None:
    async with api.stream("nonsense") as answer:
        assert answer.status == 400
        assert "Last-Event-ID" in (await answer.json())["error"]["message"]


async def test_a_stream_needs_the_token(api: Running) -> None:
    url = f"http://127.0.0.1:{api.server.port}/api/v1/events"
    async with (
        aiohttp.ClientSession() as stranger,
        stranger.get(url, headers={"Accept": "text/event-stream"}) as answer,
    ):
        assert answer.status == 401


async def test_a_caller_who_leaves_is_noticed(api: Running) -> None:
    async with api.stream() as answer:
        await block(answer)
        assert api.events.following == 1
        answer.close()

    async def nobody() -> bool:
        return not api.events.following

    await until(nobody)


async def test_streams_end_at_once_when_the_server_stops(api: Running) -> None:
    async with api.stream() as answer:
        await block(answer)
        started = time.monotonic()
        await api.server.stop()
        assert time.monotonic() - started < 1.9, "before it would be cut off, after 2 s"
        assert await answer.content.read() == b""
    assert api.events.following == 0
