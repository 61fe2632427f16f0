"""Moments in a real Valkey: found by time, recorded by one control plane, read with what else was then."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from meshwright.control_plane.api.models.events import Event
from meshwright.control_plane.api.models.moments import Moment
from meshwright.control_plane.config import Settings
from meshwright.control_plane.errors import InputError, NotFoundError, StoreError
from meshwright.control_plane.moments.codec import encode
from meshwright.control_plane.moments.past import Past
from meshwright.control_plane.moments.recorder import MomentRecorder
from meshwright.control_plane.store.events import EventEntry
from meshwright.control_plane.store.moments import StoredMoment
from meshwright.control_plane.store.store import Store
from tests.control_plane.moments.samples import AT, moment
from tests.control_plane.store.samples import by_ref, retry, until

TIME = int(AT)
SETTINGS = Settings(Path("unused"))


async def test_the_last_moment_until_a_time_is_found_with_its_neighbours(store: Store, other: Store) -> None:
    for offset in (0, 10, 20, 30):
        await store.moments.save(TIME + offset, f"text {offset}")
    await store.moments.save(TIME + 20, "written again")
    read = await other.moments.read(TIME + 29.9)
    assert read == StoredMoment("written again", TIME + 20, TIME + 10, TIME + 30, TIME, TIME + 30)
    assert (await other.moments.read(TIME + 9999)).later == 0
    assert await other.moments.read(TIME - 1) == StoredMoment("", 0, 0, TIME, TIME, TIME + 30)
    assert await other.moments.sizes() == {TIME: 6, TIME + 10: 7, TIME + 20: 13, TIME + 30: 7}

    await other.moments.remove([TIME, TIME + 20])
    assert (await store.moments.read(TIME + 29)).time == TIME + 10
    assert list(await store.moments.sizes()) == [TIME + 10, TIME + 30]


async def test_one_control_plane_records_until_it_is_gone(store: Store, other: Store) -> None:
    assert await store.moments.claim("a", 0.5)
    assert not await other.moments.claim("b", 60)

    async def claimed() -> bool:
        return await other.moments.claim("b", 60)

    await until(claimed)
    assert not await store.moments.claim("a", 60)


async def test_the_recorder_waits_for_the_mesh_and_thins_what_is_too_much(store: Store) -> None:
    now = time.time()
    await store.moments.save(int(now) - 100_000, "too old")
    waiting: list[Moment | None] = [None, moment(now)]

    async def observe() -> Moment | None:
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    recorder = MomentRecorder("a", store.moments, replace(SETTINGS, history_hours=1), observe)
    task = asyncio.create_task(recorder.run())

    async def recorded() -> bool:
        return list(await store.moments.sizes()) == [int(now // 10 * 10)]

    await until(recorded)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert (await Past(store).at(now + 1)).moment.topology == moment().topology


async def test_without_a_history_nothing_is_recorded(store: Store) -> None:
    async def observe() -> Moment | None:
        raise AssertionError

    await MomentRecorder("a", store.moments, replace(SETTINGS, history_hours=0), observe).run()
    with pytest.raises(NotFoundError, match="MESH_HISTORY_HOURS"):
        await Past(store).at(time.time())


async def test_a_moment_comes_with_revision_policies_and_events_of_then(store: Store) -> None:
    await store.commit(0, by_ref(retry("a")), "ana", "first")
    await store.commit(1, by_ref(retry("a"), retry("b")), "bob", "second")
    await store.events.write("me", 1, [EventEntry(Event(time=1, kind="lease", subject="x", message="then"))])
    now = time.time() + 1
    await store.moments.save(int(now), encode(moment(now, revision=1)))
    past = await Past(store).at(now)
    assert (past.at, past.moment.revision, past.policies) == (now, 1, ("Retry/a",))
    assert past.info is not None
    assert (past.info.author, past.info.message) == ("ana", "first")
    assert [event.message for event in past.events] == ["then"]

    with pytest.raises(NotFoundError, match="the oldest moment is of"):
        await Past(store).at(now - 3600)
    with pytest.raises(InputError, match="in the future"):
        await Past(store).at(now + 3600)
    await store.moments.save(int(now), "damaged")
    with pytest.raises(StoreError, match="is damaged"):
        await Past(store).at(now)
