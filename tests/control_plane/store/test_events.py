"""Events in a real Valkey: ordered and bounded, deduplicated between writers, complete after an outage."""

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
from meshwright.control_plane.store.leases import InstanceKey
from meshwright.control_plane.store.store import Store
from tests.control_plane.store.samples import by_ref, retry, until
from tests.fakes.valkey import Valkey

NOW = time.time()


def entry(message: str, dedup_key: str = "", kind: str = "lease", at: float = NOW) -> EventEntry:
    return EventEntry(Event(time=at, kind=kind, subject="a", message=message), dedup_key)


def texts(events: tuple[Event, ...]) -> list[str]:
    return [event.message for event in events]


async def all_texts(store: Store) -> list[str]:
    """All messages, oldest first."""
    return texts(tuple(reversed(await store.events.newest(1000))))


@asynccontextmanager
async def watching(store: Store) -> AsyncIterator[EventWatcher]:
    """A running event watcher of a control plane."""
    watcher = EventWatcher(store, MeshState)
    task = asyncio.create_task(watcher.run())
    yield watcher
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_events_are_read_newest_first_by_page_and_kind(store: Store, other: Store) -> None:
    entries = [entry(str(number), kind="lease" if number % 2 else "svid") for number in range(7)]
    await store.events.write("me", 1, entries)
    page = await other.events.newest(3)
    assert texts(page) == ["6", "5", "4"]
    assert texts(await other.events.newest(3, before=page[-1].id)) == ["3", "2", "1"]
    assert texts(await other.events.newest(2, kind="svid")) == ["6", "4"]
    assert texts(await other.events.newest(9, page[-1].id, "svid")) == ["2", "0"]
    assert page[0] == entries[6].event.model_copy(update={"id": page[0].id})
    assert event_sort_key(page[0].id) > event_sort_key(page[1].id)
    assert texts(await other.events.read_after(page[1].id)) == ["6"]
    assert await other.events.last_id() == page[0].id


async def test_batch_that_is_sent_twice_is_written_once(store: Store) -> None:
    batch = (entry("one"), entry("two"))
    for _ in range(2):
        await store.events.write("me", 1, batch)
    await store.events.write("me", 2, batch)
    assert await all_texts(store) == ["one", "two"] * 2


async def test_event_with_one_dedup_key_from_two_writers_is_written_once(store: Store, other: Store) -> None:
    await store.events.write("one", 1, (entry("opened", "back/open"), entry("closed", "back/closed")))
    await other.events.write("two", 1, (entry("opened", "back/open", at=NOW + 2), entry("no key")))
    await other.events.write("two", 2, (entry("closed", "back/closed", at=NOW - 2),))
    assert await all_texts(store) == ["opened", "closed", "no key"]
    await store.events.write("one", 2, (entry("opened again", "back/open", at=NOW + 1),))
    await other.events.write("two", 3, (entry("opened later", "back/open", at=NOW + 60),))
    assert (await all_texts(store))[3:] == ["opened again", "opened later"]


async def test_stream_is_trimmed(valkey: Valkey, store: Store) -> None:
    for number in range(60):
        await store.events.write("me", number + 1, [entry(f"{number}.{n}") for n in range(BATCH_LIMIT)])
    with valkey.client() as client:
        assert lua.EVENTS_LENGTH <= client.xlen(lua.EVENTS) < lua.EVENTS_LENGTH * 1.1
        assert 0 < client.ttl("mesh:events:batch:me") <= lua.DEDUP_TTL
    assert texts(await store.events.newest(1)) == [f"59.{BATCH_LIMIT - 1}"]
    assert await store.events.newest(5, kind="svid") == ()


async def test_damaged_event_is_shown_as_unreadable(valkey: Valkey, store: Store) -> None:
    with valkey.client() as client:
        client.xadd(lua.EVENTS, {"kind": "lease", "event": "{"})
    (event,) = await store.events.newest(5)
    assert (event.kind, event.message) == ("lease", "cannot be read")


async def test_no_event_is_written_to_a_store_that_lost_its_data(valkey: Valkey, store: Store) -> None:
    await store.commit(0, by_ref(retry("a")), "ann", "")
    with valkey.client() as client:
        client.flushall()
        with pytest.raises(StoreError):
            await store.events.write("me", 1, (entry("one"),))
        assert client.exists(lua.EVENTS) == 0


async def test_two_control_planes_write_one_event_per_revision(store: Store, other: Store) -> None:
    await store.commit(0, by_ref(retry("a")), "ann", "before the first watcher")
    async with watching(store), watching(other):
        for number in range(1, 6):
            await store.commit(number, by_ref(retry("a", number + 1)), "bob", f"change {number}")
            await other.current()
        await until(lambda: _has(store, 6))
    async with watching(other):
        await other.commit(6, by_ref(retry("b")), "eve", "after a restart")
        await until(lambda: _has(store, 7))
    events = await store.events.newest(100)
    assert [event.revision for event in events] == [7, 6, 5, 4, 3, 2, 1]
    assert [event.author for event in events] == ["eve", *["bob"] * 5, "ann"]
    assert events[-1].message == "created Retry/a: before the first watcher"


async def _has(store: Store, count: int) -> bool:
    return len(await store.events.newest(100)) >= count


def _store_events() -> float:
    """Number of events about the store's health."""
    return REGISTRY.get_sample_value("mesh_events_total", {"kind": "store"}) or 0


async def test_events_during_an_outage_are_written_afterwards(valkey: Valkey, store: Store) -> None:
    async with watching(store) as watcher:
        watcher.leases_expired([InstanceKey("back", "back-1")])
        await until(lambda: _has(store, 1))
        before = _store_events()
        valkey.stop()
        watcher.leases_expired([InstanceKey("back", "back-2")])

        async def outage_noticed() -> bool:
            with suppress(StoreError):
                await store.current()
            return _store_events() > before

        await until(outage_noticed)
        watcher.leases_expired([InstanceKey("back", "back-3")])
        valkey.start()

        async def recovery_written() -> bool:
            with suppress(StoreError):
                return any("reachable again" in text for text in await all_texts(store))
            return False

        await until(recovery_written)
    written = await all_texts(store)
    assert [text.rpartition(" lost ")[2].partition(":")[0] for text in written if "lost" in text] == [
        "back-1",
        "back-2",
        "back-3",
    ]
    assert sum("degraded" in text for text in written) == 1


async def test_subscribers_receive_missed_and_new_events(store: Store, other: Store) -> None:
    subscriptions = EventSubscriptions(other.events)
    await store.events.write("me", 1, (entry("one"), entry("two")))
    first = (await store.events.newest(2))[1].id
    resumed, fresh = subscriptions.follow(first), subscriptions.follow("")
    assert await anext(resumed) is None
    assert await anext(fresh) is None
    assert await _next_text(resumed) == "two"
    waiting = [asyncio.ensure_future(_next_text(events)) for events in (resumed, fresh)]
    await asyncio.sleep(0)
    await store.events.write("me", 2, (entry("three"),))
    assert await asyncio.gather(*waiting) == ["three", "three"]
    await resumed.aclose()  # type: ignore[attr-defined]
    await store.events.write("me", 3, (entry("four"),))
    assert await _next_text(fresh) == "four"
    await fresh.aclose()  # type: ignore[attr-defined]


async def _next_text(events: AsyncIterator[Event | None]) -> str:
    """The message of the next event, within 20 s."""
    async with asyncio.timeout(20):
        async for event in events:
            if event is not None:
                return event.message
    raise AssertionError("the stream ended")


async def test_subscription_survives_an_outage(valkey: Valkey, store: Store, other: Store) -> None:
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
    assert await _next_text(events) == "back"
    await events.aclose()  # type: ignore[attr-defined]


async def test_subscribers_are_limited(store: Store) -> None:
    subscriptions = EventSubscriptions(store.events)
    opened = [subscriptions.follow("") for _ in range(MAX_SUBSCRIBERS)]
    for events in opened:
        await anext(events)
    with pytest.raises(TooManySubscribersError, match="close one"):
        await anext(subscriptions.follow(""))
    for events in opened:
        await events.aclose()  # type: ignore[attr-defined]
    reopened = subscriptions.follow("")
    assert await anext(reopened) is None
    await reopened.aclose()  # type: ignore[attr-defined]
