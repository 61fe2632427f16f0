"""Control planes announce themselves in a real Valkey, and are forgotten when they fall silent."""

from __future__ import annotations

import pytest

from control_plane.errors import StoreError
from control_plane.store import planes
from control_plane.store.redis import Store
from tests.fakes.valkey import Valkey
from tests.store.samples import until


async def test_each_learns_of_all_the_others(store: Store, other: Store) -> None:
    assert await store.planes.announce("a", "where a is") == {}
    assert await other.planes.announce("b", "where b is") == {"a": "where a is"}
    assert await store.planes.announce("a", "a moved") == {"b": "where b is"}
    await store.planes.withdraw("a")
    assert await other.planes.announce("b", "where b is") == {}


async def test_who_does_not_renew_is_forgotten(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.planes.announce("a", "here")
    assert "a" in await other.planes.announce("b", "there")
    monkeypatch.setattr(planes, "LIFE", 0.2)
    await store.planes.announce("a", "here")

    async def gone() -> bool:
        return await other.planes.announce("b", "there") == {}

    await until(gone)


async def test_an_announcement_makes_no_empty_store_ours(valkey: Valkey) -> None:
    stranger = Store(valkey.url, valkey.password)
    with pytest.raises(StoreError):
        await stranger.planes.announce("a", "here")
    with valkey.client() as client:
        assert client.keys("*") == []
    await stranger.close()
