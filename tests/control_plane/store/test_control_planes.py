"""Announcements of control planes in a real Valkey, and their expiry."""

from __future__ import annotations

import pytest

from meshwright.control_plane.errors import StoreError
from meshwright.control_plane.store import control_planes
from meshwright.control_plane.store.store import Store
from tests.control_plane.store.samples import until
from tests.fakes.valkey import Valkey


async def test_each_control_plane_learns_about_all_others(store: Store, other: Store) -> None:
    assert await store.control_planes.announce("a", "address of a") == {}
    assert await other.control_planes.announce("b", "address of b") == {"a": "address of a"}
    assert await store.control_planes.announce("a", "new address of a") == {"b": "address of b"}
    await store.control_planes.withdraw("a")
    assert await other.control_planes.announce("b", "address of b") == {}


async def test_announcement_expires_unless_it_is_renewed(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.control_planes.announce("a", "here")
    assert "a" in await other.control_planes.announce("b", "there")
    monkeypatch.setattr(control_planes, "ANNOUNCEMENT_TTL", 0.2)
    await store.control_planes.announce("a", "here")

    async def expired() -> bool:
        return await other.control_planes.announce("b", "there") == {}

    await until(expired)


async def test_announcement_does_not_initialize_an_empty_store(valkey: Valkey) -> None:
    stranger = Store(valkey.url, valkey.password)
    with pytest.raises(StoreError):
        await stranger.control_planes.announce("a", "here")
    with valkey.client() as client:
        assert client.keys("*") == []
    await stranger.close()


async def test_presence_returns_when_the_same_address_was_recorded_before(store: Store, other: Store) -> None:
    before, first = await store.control_planes.record_presence("a:15012")
    assert before == 0
    assert (await other.control_planes.record_presence("b:15012"))[0] == 0
    before, second = await other.control_planes.record_presence("a:15012")
    assert before == first <= second
