"""An overdue lease is kept, and listed as silent, for as long as its instance shows that it works."""

from __future__ import annotations

from collections.abc import Collection

from meshwright.control_plane.store.leases import InstanceKey
from meshwright.control_plane.store.store import Store
from tests.control_plane.store.samples import instance, until

WORKS, DEAD = InstanceKey("orders", "orders-1"), InstanceKey("orders", "orders-2")


async def one_works(keys: Collection[InstanceKey]) -> Collection[InstanceKey]:
    return [key for key in keys if key == WORKS]


async def none_work(_keys: Collection[InstanceKey]) -> Collection[InstanceKey]:
    return ()


async def sweep(store: Store) -> tuple[InstanceKey, ...]:
    """What the control plane does twice a second."""
    asked_until = await store.silent_leases.keep(one_works)
    return await store.leases.sweep(asked_until)


async def swept(store: Store, expired: list[InstanceKey]) -> bool:
    expired += await sweep(store)
    return bool(expired)


async def test_lease_outlives_its_agent_while_the_instance_works(store: Store) -> None:
    for key in (WORKS, DEAD):
        await store.leases.register(instance(key.instance))
    expired: list[InstanceKey] = []
    await until(lambda: swept(store, expired))
    assert expired == [DEAD]
    assert [registered.instance for registered in await store.leases.instances()] == ["orders-1"]
    assert list(store.silent_leases.since) == [WORKS]
    since = store.silent_leases.since[WORKS]
    for _ in range(20):
        assert await sweep(store) == ()
    assert store.silent_leases.since == {WORKS: since}, "since the first time it was missed"


async def test_renewal_ends_the_silence(store: Store) -> None:
    await store.leases.register(instance("orders-1"))

    async def silent() -> bool:
        await sweep(store)
        return WORKS in store.silent_leases.since

    await until(silent)
    await store.leases.register(instance("orders-1"))
    await sweep(store)
    assert store.silent_leases.since == {}


async def test_silent_instance_that_no_longer_works_expires(store: Store) -> None:
    await store.leases.register(instance("orders-1"))

    async def silent() -> bool:
        await sweep(store)
        return WORKS in store.silent_leases.since

    await until(silent)

    async def expired() -> bool:
        asked_until = await store.silent_leases.keep(none_work)
        return WORKS in await store.leases.sweep(asked_until)

    await until(expired)
    await store.silent_leases.keep(none_work)
    assert store.silent_leases.since == {}


async def test_a_lease_that_expires_between_question_and_sweep_is_asked_about_first(store: Store) -> None:
    await store.leases.register(instance("orders-1"))
    asked_until = await store.silent_leases.keep(none_work)

    async def overdue() -> bool:
        overdue_keys: list[InstanceKey] = []

        async def note(keys: Collection[InstanceKey]) -> Collection[InstanceKey]:
            overdue_keys.extend(keys)
            return ()

        await store.silent_leases.keep(note)
        assert await store.leases.sweep(asked_until) == ()
        return overdue_keys == [WORKS]

    await until(overdue)
    assert await sweep(store) == ()
    assert [registered.instance for registered in await store.leases.instances()] == ["orders-1"]
