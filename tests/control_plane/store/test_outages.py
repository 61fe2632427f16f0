"""What the store says and keeps when Valkey stops, hangs, forgets, or is not ours."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from meshwright.control_plane.errors import StoreError
from meshwright.control_plane.store.store import ALL_CHANGES, Store
from tests.control_plane.store.samples import documents, instance, retry, until
from tests.fakes.valkey import Valkey


@pytest.fixture
async def seen(other: Store) -> AsyncIterator[list[frozenset[str]]]:
    """What a watcher has been told, as it grows."""
    told: list[frozenset[str]] = []

    async def watch() -> None:
        async for kinds in other.changes():
            told.append(kinds)

    task = asyncio.create_task(watch())
    yield told
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _grows(told: list[frozenset[str]], beyond: int) -> None:
    async def more() -> bool:
        return len(told) > beyond

    await until(more)


async def test_watcher_hears_everything_first_and_then_what_changed(
    store: Store, seen: list[frozenset[str]]
) -> None:
    await _grows(seen, 0)
    await store.commit(0, documents(retry("a")), "ann", "")
    await _grows(seen, 1)
    await store.leases.register(instance())
    await _grows(seen, 2)
    assert seen == [ALL_CHANGES, {"revision"}, {"instances"}]


async def test_no_change_is_lost_when_connections_break(
    valkey: Valkey, store: Store, seen: list[frozenset[str]]
) -> None:
    await _grows(seen, 0)
    with valkey.client() as client:
        for number in range(20):
            before = len(seen)
            client.client_kill_filter(_type="normal", skipme=True)
            await store.commit(number, documents(retry("a", number + 1)), "ann", "")
            await _grows(seen, before)
            assert "revision" in set().union(*seen[before:])


async def test_watcher_can_be_cancelled_while_an_answer_arrives(store: Store, other: Store) -> None:
    for number in range(40):
        ready, heard = asyncio.Event(), asyncio.Event()

        async def watch(ready: asyncio.Event, heard: asyncio.Event) -> None:
            async for _ in other.changes():
                (heard if ready.is_set() else ready).set()

        task = asyncio.create_task(watch(ready, heard))
        await ready.wait()
        await store.leases.register(instance(port=number + 1))
        await heard.wait()
        for _ in range(number % 5):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=10)
        assert done == {task}


async def test_everything_committed_survives_a_kill_and_watchers_are_told(
    valkey: Valkey, store: Store, other: Store, seen: list[frozenset[str]]
) -> None:
    await _grows(seen, 0)
    made = await store.commit(0, documents(retry("a")), "ann", "")
    await store.leases.register(instance())
    valkey.stop()

    async def degraded() -> bool:
        return other.health.status == "degraded"

    await until(degraded)
    before = len(seen)
    valkey.start()
    await _grows(seen, before)
    assert seen[before] == ALL_CHANGES
    stored = await store.snapshot()
    assert stored.revision == made
    assert stored.registrations == (instance(),)
    assert {store.health.status, other.health.status} == {"ok"}


async def test_stopped_store_is_named_at_once(valkey: Valkey, store: Store) -> None:
    valkey.stop()
    start = time.monotonic()
    with pytest.raises(StoreError, match=r"the store at unix:.*cannot be reached"):
        await store.current()
    assert time.monotonic() - start < 10, "it is not waited for"
    assert store.health.status == "degraded"
    assert "cannot be reached" in store.health.reason


async def test_frozen_store_gives_errors_and_never_hangs(valkey: Valkey, store: Store) -> None:
    valkey.freeze()
    start = time.monotonic()
    calls = [store.leases.register(instance(f"orders-{number}")) for number in range(100)]
    results = await asyncio.gather(*calls, store.current(), return_exceptions=True)
    took = time.monotonic() - start
    assert all(isinstance(result, StoreError) for result in results)
    assert took < 20, "a hundred calls wait no longer than one"
    assert "did not answer" in store.health.reason
    valkey.thaw()
    await store.current()
    assert store.health.status == "ok"


async def test_store_that_lost_its_data_is_an_error_not_an_empty_mesh(valkey: Valkey, store: Store) -> None:
    await store.commit(0, documents(retry("a")), "ann", "")
    with valkey.client() as client:
        client.flushall()
    for _ in range(2):
        with pytest.raises(StoreError, match="holds no mesh, but revision 1 was known"):
            await store.snapshot()
        with pytest.raises(StoreError, match="lost data"):
            await store.open()
    with pytest.raises(StoreError, match="lost data"):
        await store.commit(1, documents(retry("b")), "ann", "")
    assert (store.health.status, store.last_seen_revision) == ("degraded", 1)
    with valkey.client() as client:
        assert client.exists("mesh:format") == 0


async def test_revision_remembered_from_an_earlier_life_is_held_against_the_store(
    valkey: Valkey, store: Store
) -> None:
    await store.commit(0, documents(retry("a")), "ann", "")
    later = Store(valkey.url, valkey.password)
    with pytest.raises(StoreError, match="holds revision 1, but revision 2 was known"):
        await later.open(min_revision=2)
    await later.close()
    again = Store(valkey.url, valkey.password)
    assert await again.open(min_revision=1) == 1
    await again.close()


async def test_missing_counter_under_a_known_format_is_an_error(valkey: Valkey) -> None:
    with valkey.client() as client:
        client.set("mesh:format", "1")
    store = Store(valkey.url, valkey.password)
    with pytest.raises(StoreError, match="a part of a mesh only"):
        await store.open()
    await store.close()


async def test_empty_store_of_a_mesh_without_policies_is_taken_again(valkey: Valkey, store: Store) -> None:
    with valkey.client() as client:
        client.flushall()
    assert (await store.snapshot()).revision.number == 0
    assert (await store.commit(0, documents(retry("a")), "ann", "")).number == 1


@pytest.mark.parametrize("form", ["2", "17"])
async def test_newer_format_is_refused_and_left_alone(valkey: Valkey, store: Store, form: str) -> None:
    await store.commit(0, documents(retry("a")), "ann", "")
    with valkey.client() as client:
        client.set("mesh:format", form)
    later = Store(valkey.url, valkey.password)
    for attempt in (
        later.open(),
        later.current(),
        later.snapshot(),
        store.commit(1, documents(), "ann", ""),
        store.history(),
    ):
        with pytest.raises(StoreError, match=f"holds format {form}, this control plane reads 1: update it"):
            await attempt
    await later.close()
    with valkey.client() as client:
        assert (client.get("mesh:format"), client.get("mesh:revision")) == (form, "1")
