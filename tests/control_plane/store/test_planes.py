"""Control planes announce themselves in a real Valkey, and are forgotten when they fall silent."""

from __future__ import annotations

import pytest

from meshwright.control_plane.errors import StoreError
from meshwright.control_plane.store import control_planes
from meshwright.control_plane.store.store import Store
from tests.control_plane.store.samples import until
from tests.fakes.valkey import Valkey


async def test_each_learns_of_all_the_others(store: Store, other: Store) -> None:
    assert await store.control_planes.announce("a", "where a is") == {}
    assert await other.control_planes.announce("b", "where b is") == {"a": "where a is"}
    assert await store.control_planes.announce("a", "a moved") == {"b": "where b is"}
    await store.control_planes.withdraw("a")
    assert await other.control_planes.announce("b", "where b is") == {}


async def test_who_does_not_renew_is_forgotten(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.control_planes.announce("a", "here")
    assert "a" in await other.control_planes.announce("b", "there")
    monkeypatch.setattr(control_planes, "LIFE", 0.2)
    await store.control_planes.announce("a", "here")

    async def gone() -> bool:
        return await other.control_planes.announce("b", "there") == {}

    await until(gone)


async def test_an_announcement_makes_no_empty_store_ours(valkey: Valkey) -> None:
    stranger = Store(valkey.url, valkey.password)
    with pytest.raises(StoreError):
        await stranger.control_planes.announce("a", "here")
    with valkey.client() as client:
        assert client.keys("*") == []
    await stranger.close()
