"""Events in a real Valkey: kept in order and bounded, told once by several, not lost while it is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from prometheus_client import REGISTRY

from meshwright.control_plane.api.models.events import Event, event_sort_key
from meshwright.control_plane.errors import StoreError
from meshwright.control_plane.events.state import MeshState
from meshwright.control_plane.events.subscriptions import (
    MAX_SUBSCRIBERS,
    EventSubscriptions,
    TooManySubscribersError,
)
from meshwright.control_plane.events.watcher import EventWatcher
from meshwright.control_plane.store import lua
from meshwright.control_plane.store.events import BATCH_LIMIT, EventEntry
from meshwright.control_plane.store.store import Store
from tests.control_plane.store.samples import documents, retry, until
from tests.fakes.valkey import Valkey

NOW = time.time()


def entry(words: str, topic: str = "", kind: str = "lease", at: float = NOW) -> EventEntry:
    return EventEntry(Event(time=at, kind=kind, subject="a", message=words), topic)


async def words(store: Store, kind: str = "") -> list[str]:
    """The messages, oldest first."""
    return [one.message for one in reversed(await store.events.newest(1000, kind=kind))]


@asynccontextmanager
async def watching(store: Store, *pictures: MeshState) -> AsyncIterator[EventWatcher]:
    """A control plane's watch that runs."""
    watch = EventWatcher(store, lambda: pictures[-1] if pictures else MeshState())
    task = asyncio.create_task(watch.run())
    yield watch
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_what_is_written_is_read_newest_first_by_pages_and_kinds(store: Store, other: Store) -> None:
    given = [entry(str(number), kind="lease" if number % 2 else "svid") for number in range(7)]
    await store.events.write("me", 1, given)
    found = await other.events.newest(3)
    assert [one.message for one in found] == ["6", "5", "4"]
    assert [one.message for one in await other.events.newest(3, before=found[-1].id)] == ["3", "2", "1"]
    assert [one.message for one in await other.events.newest(2, kind="svid")] == ["6", "4"]
    assert [one.message for one in await other.events.newest(9, found[-1].id, "svid")] == ["2", "0"]
    assert found[0] == given[6].event.model_copy(update={"id": found[0].id})
    assert event_sort_key(found[0].id) > event_sort_key(found[1].id)
    assert [one.message for one in await other.events.read_after(found[1].id)] == ["6"]
    assert await other.events.last_id() == found[0].id


async def test_a_batch_that_is_sent_twice_counts_once(store: Store) -> None:
    batch = (entry("one"), entry("two"))
    for _ in range(2):
        await store.events.write("me", 1, batch)
    await store.events.write("me", 2, batch)
    assert await words(store) == ["one", "two"] * 2


async def test_what_two_writers_notice_is_told_once(store: Store, other: Store) -> None:
    await store.events.write("one", 1, (entry("opened", "back/open"), entry("closed", "back/closed")))
    await other.events.write("two", 1, (entry("opened", "back/open", at=NOW + 2), entry("own")))
    await other.events.write("two", 2, (entry("closed", "back/closed", at=NOW - 2),))
    assert await words(store) == ["opened", "closed", "own"]
    await store.events.write("one", 2, (entry("opened again", "back/open", at=NOW + 1),))
    await other.events.write("two", 3, (entry("opened later", "back/open", at=NOW + 60),))
    assert (await words(store))[3:] == ["opened again", "opened later"]


async def test_the_stream_is_trimmed(valkey: Valkey, store: Store) -> None:
    for number in range(60):
        await store.events.write("me", number + 1, [entry(f"{number}.{n}") for n in range(BATCH_LIMIT)])
    with valkey.client() as client:
        assert lua.EVENTS_LENGTH <= client.xlen(lua.EVENTS) < lua.EVENTS_LENGTH * 1.1
        assert 0 < client.ttl("mesh:events:writer:me") <= lua.DEDUP_TTL
    assert (await store.events.newest(1))[0].message == f"59.{BATCH_LIMIT - 1}"
    assert await store.events.newest(5, kind="svid") == ()


async def test_a_damaged_event_is_shown_as_such(valkey: Valkey, store: Store) -> None:
    with valkey.client() as client:
        client.xadd(lua.EVENTS, {"kind": "lease", "event": "{"})
    (found,) = await store.events.newest(5)
    assert (found.kind, found.message) == ("lease", "cannot be read")


async def test_a_store_that_lost_its_data_is_told_nothing(valkey: Valkey, store: Store) -> None:
    await store.commit(0, documents(retry("a")), "ann", "")
    with valkey.client() as client:
        client.flushall()
        with pytest.raises(StoreError):
            await store.events.write("me", 1, (entry("one"),))
        assert client.exists(lua.EVENTS) == 0


async def test_every_revision_is_told_of_once_by_two_control_planes(store: Store, other: Store) -> None:
    await store.commit(0, documents(retry("a")), "ann", "before anybody looked")
    async with watching(store), watching(other):
        for number in range(1, 6):
            await store.commit(number, documents(retry("a", number + 1)), "bob", f"change {number}")
            await other.current()
        await until(lambda: _has(store, 6))
    async with watching(other):
        await other.commit(6, documents(retry("b")), "eve", "after a restart")
        await until(lambda: _has(store, 7))
    found = await store.events.newest(100)
    assert [one.revision for one in found] == [7, 6, 5, 4, 3, 2, 1]
    assert [one.author for one in found] == ["eve", *["bob"] * 5, "ann"]
    assert found[-1].message == "created Retry/a: before anybody looked"


async def _has(store: Store, count: int) -> bool:
    return len(await store.events.newest(100)) >= count


async def test_what_happens_while_the_store_is_away_is_written_later(valkey: Valkey, store: Store) -> None:
    async with watching(store) as watch:
        watch.leases_expired(["back-1"])
        await until(lambda: _has(store, 1))
        before = REGISTRY.get_sample_value("mesh_events_total", {"kind": "store"}) or 0
        valkey.stop()
        watch.leases_expired(["back-2"])

        async def noticed() -> bool:
            with suppress(StoreError):
                await store.current()
            return (REGISTRY.get_sample_value("mesh_events_total", {"kind": "store"}) or 0) > before

        await until(noticed)
        watch.leases_expired(["back-3"])
        valkey.start()

        async def written() -> bool:
            with suppress(StoreError):
                return any("answers again" in one for one in await words(store))
            return False

        await until(written)
    told = await words(store)
    assert [one.rpartition(" lost ")[2].partition(":")[0] for one in told if "lost" in one] == [
        "back-1",
        "back-2",
        "back-3",
    ]
    assert sum("degraded" in one for one in told) == 1


async def test_listeners_get_what_they_missed_and_what_comes(store: Store, other: Store) -> None:
    live = EventSubscriptions(other.events)
    await store.events.write("me", 1, (entry("one"), entry("two")))
    first = (await store.events.newest(2))[1].id
    resumed, fresh = live.follow(first), live.follow("")
    assert await anext(resumed) is None
    assert await anext(fresh) is None
    assert await _next(resumed) == "two"
    waiting = [asyncio.ensure_future(_next(one)) for one in (resumed, fresh)]
    await asyncio.sleep(0)
    await store.events.write("me", 2, (entry("three"),))
    assert await asyncio.gather(*waiting) == ["three", "three"]
    await resumed.aclose()  # type: ignore[attr-defined]
    await store.events.write("me", 3, (entry("four"),))
    assert await _next(fresh) == "four"
    await fresh.aclose()  # type: ignore[attr-defined]


async def _next(events: AsyncIterator[Event | None]) -> str:
    """The next message, in time."""
    async with asyncio.timeout(20):
        async for event in events:
            if event is not None:
                return event.message
    raise AssertionError("the stream ended")


async def test_listeners_outlive_a_store_that_is_away(valkey: Valkey, store: Store, other: Store) -> None:
    events = EventSubscriptions(other.events).follow("")
    assert await anext(events) is None
    assert await anext(events) is None
    valkey.stop()
    assert await anext(events) is None
    valkey.start()

    async def written() -> bool:
        with suppress(StoreError):
            await store.events.write("me", 1, (entry("back"),))
            return True
        return False

    await until(written)
    assert await _next(events) == "back"
    await events.aclose()  # type: ignore[attr-defined]


async def test_listeners_are_bounded(store: Store) -> None:
    live = EventSubscriptions(store.events)
    opened = [live.follow("") for _ in range(MAX_SUBSCRIBERS)]
    for one in opened:
        await anext(one)
    with pytest.raises(TooManySubscribersError, match="close one"):
        await anext(live.follow(""))
    for one in opened:
        await one.aclose()  # type: ignore[attr-defined]
    again = live.follow("")
    assert await anext(again) is None
    await again.aclose()  # type: ignore[attr-defined]
