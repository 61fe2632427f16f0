"""The buckets of global limits in a real Valkey: exact, shared, and bounded."""

from __future__ import annotations

import asyncio

import pytest

from meshwright.control_plane.errors import StoreError
from meshwright.control_plane.store import limit_counters
from meshwright.control_plane.store.limit_counters import Bucket, Grant
from meshwright.control_plane.store.lua import Script
from meshwright.control_plane.store.store import Store
from tests.fakes.valkey import Valkey

HOUR_MS = 3_600_000.0


def bucket(key: str = "a", *, size: int = 10, interval_ms: float = HOUR_MS, limit: str = "shop/0") -> Bucket:
    return Bucket(limit, key, interval_ms, size)


async def take(store: Store, *requested: tuple[Bucket, int]) -> list[Grant]:
    return await store.limit_counters.take(requested)


async def test_two_control_planes_share_a_bucket_and_never_grant_more(store: Store, other: Store) -> None:
    grants = await asyncio.gather(
        *(take(plane, (bucket(), 3), (bucket("b"), 1)) for plane in (store, other) * 4)
    )
    assert sum(first.granted for first, _ in grants) == 10
    assert sum(second.granted for _, second in grants) == 8
    (last,) = await take(store, (bucket(), 1))
    assert (last.granted, last.left) == (0, 0)
    assert HOUR_MS * 0.9 < last.next_in_ms <= HOUR_MS


async def test_a_bucket_fills_while_nobody_takes_of_it(store: Store) -> None:
    fast = bucket(size=5, interval_ms=2.0)
    assert (await take(store, (fast, 100)))[0].granted == 5

    deadline = asyncio.get_running_loop().time() + 60
    while (await take(store, (fast, 0)))[0].left < 5:
        assert asyncio.get_running_loop().time() < deadline


async def test_a_smaller_limit_applies_at_once(store: Store) -> None:
    await take(store, (bucket(size=1000), 1000))
    (grant,) = await take(store, (bucket(size=2, interval_ms=1000.0), 1))
    assert grant.next_in_ms <= 1000, "what the larger bucket gave is no debt of the smaller one"


async def test_keys_beyond_the_bound_share_a_bucket(
    store: Store, monkeypatch: pytest.MonkeyPatch, valkey: Valkey
) -> None:
    text = limit_counters.TAKE.text.replace(str(limit_counters.MAX_KEYS), "100")
    monkeypatch.setattr(limit_counters, "TAKE", Script("few keys", text))
    await take(store, *((bucket(str(number), size=1), 1) for number in range(100)))
    grants = await take(store, *((bucket(f"more-{number}", size=1), 1) for number in range(50)))
    assert sum(grant.granted for grant in grants) == 1
    assert (await take(store, (bucket("5", size=1), 1)))[0].granted == 0, "known keys keep their buckets"
    (name,) = await store._connection.execute("KEYS", "mesh:limits:*")
    assert await store._connection.execute("HLEN", name) == 101
    assert 0 < await store._connection.execute("PTTL", name) <= 2 * HOUR_MS


async def test_a_store_that_is_away_is_an_error(store: Store, valkey: Valkey) -> None:
    await take(store, (bucket(), 1))
    valkey.stop()
    with pytest.raises(StoreError):
        await take(store, (bucket(), 1))
