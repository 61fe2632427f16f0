"""The store's errors and guarantees when Valkey stops, hangs, loses data, or holds another format."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from meshwright.control_plane.errors import StoreError
from meshwright.control_plane.store import lua
from meshwright.control_plane.store.store import ALL_CHANGES, Store
from tests.control_plane.store.samples import by_ref, instance, retry, until
from tests.fakes.valkey import Valkey


@pytest.fixture
async def changes(other: Store) -> AsyncIterator[list[frozenset[str]]]:
    """The changes that a watcher has received; the list grows."""
    received: list[frozenset[str]] = []

    async def watch() -> None:
        async for kinds in other.changes():
            received.append(kinds)

    task = asyncio.create_task(watch())
    yield received
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _grows(changes: list[frozenset[str]], beyond: int) -> None:
    async def has_more() -> bool:
        return len(changes) > beyond

    await until(has_more)


async def test_watcher_receives_all_changes_first_and_then_each_kind(
    store: Store, changes: list[frozenset[str]]
) -> None:
    await _grows(changes, 0)
    await store.commit(0, by_ref(retry("a")), "ann", "")
    await _grows(changes, 1)
    await store.leases.register(instance())
    await _grows(changes, 2)
    assert changes == [ALL_CHANGES, {"revision"}, {"instances"}]


async def test_broken_connections_lose_no_change(
    valkey: Valkey, store: Store, changes: list[frozenset[str]]
) -> None:
    await _grows(changes, 0)
    with valkey.client() as client:
        for number in range(20):
            before = len(changes)
            client.client_kill_filter(_type="normal", skipme=True)
            await store.commit(number, by_ref(retry("a", number + 1)), "ann", "")
            await _grows(changes, before)
            assert "revision" in set().union(*changes[before:])


async def test_watcher_can_be_cancelled_while_a_reply_arrives(store: Store, other: Store) -> None:
    for number in range(40):
        ready, received = asyncio.Event(), asyncio.Event()

        async def watch(ready: asyncio.Event, received: asyncio.Event) -> None:
            async for _ in other.changes():
                (received if ready.is_set() else ready).set()

        task = asyncio.create_task(watch(ready, received))
        await ready.wait()
        await store.leases.register(instance(port=number + 1))
        await received.wait()
        for _ in range(number % 5):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=10)
        assert done == {task}


async def test_committed_data_survives_a_kill_and_watchers_receive_all_changes(
    valkey: Valkey, store: Store, other: Store, changes: list[frozenset[str]]
) -> None:
    await _grows(changes, 0)
    committed = await store.commit(0, by_ref(retry("a")), "ann", "")
    await store.leases.register(instance())
    valkey.stop()

    async def degraded() -> bool:
        return other.health.status == "degraded"

    await until(degraded)
    before = len(changes)
    valkey.start()
    await _grows(changes, before)
    assert changes[before] == ALL_CHANGES
    stored = await store.snapshot()
    assert stored.revision == committed
    assert stored.registrations == (instance(),)
    assert {store.health.status, other.health.status} == {"ok"}


async def test_stopped_store_is_an_immediate_error_with_its_address(valkey: Valkey, store: Store) -> None:
    valkey.stop()
    start = time.monotonic()
    with pytest.raises(StoreError, match=r"the store at unix:.*cannot be reached"):
        await store.current()
    assert time.monotonic() - start < 10, "the call waits for the store"
    assert store.health.status == "degraded"
    assert "cannot be reached" in store.health.reason


async def test_frozen_store_raises_errors_and_blocks_no_caller(valkey: Valkey, store: Store) -> None:
    valkey.freeze()
    start = time.monotonic()
    calls = [store.leases.register(instance(f"orders-{number}")) for number in range(100)]
    results = await asyncio.gather(*calls, store.current(), return_exceptions=True)
    duration = time.monotonic() - start
    assert all(isinstance(result, StoreError) for result in results)
    assert duration < 20, "a hundred calls take longer than one"
    assert "no reply within 2 s" in store.health.reason
    valkey.thaw()
    await store.current()
    assert store.health.status == "ok"


async def test_store_that_lost_its_data_is_an_error_not_an_empty_mesh(valkey: Valkey, store: Store) -> None:
    await store.commit(0, by_ref(retry("a")), "ann", "")
    with valkey.client() as client:
        client.flushall()
    for _ in range(2):
        with pytest.raises(StoreError, match="has no mesh, but revision 1 was seen"):
            await store.snapshot()
        with pytest.raises(StoreError, match="lost data"):
            await store.open()
    with pytest.raises(StoreError, match="lost data"):
        await store.commit(1, by_ref(retry("b")), "ann", "")
    assert (store.health.status, store.last_seen_revision) == ("degraded", 1)
    with valkey.client() as client:
        assert client.exists("mesh:format") == 0


async def test_store_below_a_revision_seen_by_an_earlier_process_is_an_error(
    valkey: Valkey, store: Store
) -> None:
    await store.commit(0, by_ref(retry("a")), "ann", "")
    behind = Store(valkey.url, valkey.password)
    with pytest.raises(StoreError, match="has revision 1, but revision 2 was seen"):
        await behind.open(min_revision=2)
    await behind.close()
    current = Store(valkey.url, valkey.password)
    assert await current.open(min_revision=1) == 1
    await current.close()


async def test_format_without_a_revision_is_an_error(valkey: Valkey) -> None:
    with valkey.client() as client:
        client.set("mesh:format", str(lua.FORMAT))
    store = Store(valkey.url, valkey.password)
    with pytest.raises(StoreError, match="only a part of a mesh"):
        await store.open()
    await store.close()


async def test_emptied_store_of_a_mesh_without_policies_is_initialized_again(
    valkey: Valkey, store: Store
) -> None:
    with valkey.client() as client:
        client.flushall()
    assert (await store.snapshot()).revision.number == 0
    assert (await store.commit(0, by_ref(retry("a")), "ann", "")).number == 1


@pytest.mark.parametrize(
    ("stored_format", "advice"),
    [("1", "start with an empty store"), ("3", "update it"), ("17", "update it")],
)
async def test_other_format_is_refused_and_not_changed(
    valkey: Valkey, store: Store, stored_format: str, advice: str
) -> None:
    await store.commit(0, by_ref(retry("a")), "ann", "")
    with valkey.client() as client:
        client.set("mesh:format", stored_format)
    later = Store(valkey.url, valkey.password)
    message = f"has format {stored_format}, this control plane reads 2: {advice}"
    for call in (
        later.open(),
        later.current(),
        later.snapshot(),
        store.commit(1, by_ref(), "ann", ""),
        store.history(),
    ):
        with pytest.raises(StoreError, match=message):
            await call
    await later.close()
    with valkey.client() as client:
        assert (client.get("mesh:format"), client.get("mesh:revision")) == (stored_format, "1")
