"""Leases in a real Valkey: who is registered, for how long, and what an absence changes."""

from __future__ import annotations

import time

import pytest

from meshwright.control_plane.errors import NotFoundError, PermissionDeniedError, StoreError
from meshwright.control_plane.store.store import Store
from tests.control_plane.store.samples import instance, until
from tests.fakes.valkey import Valkey


async def _names(store: Store) -> list[str]:
    return [one.instance for one in await store.leases.instances()]


async def test_only_new_content_counts_as_a_change(store: Store) -> None:
    one = instance(labels=(("b", "2"), ("a", "1")))
    assert await store.leases.register(one)
    assert not await store.leases.register(one)
    assert not await store.leases.register(instance(labels=(("a", "1"), ("b", "2"))))
    assert await store.leases.register(instance(health="unhealthy"))
    assert await store.leases.instances() == (instance(health="unhealthy"),)


async def test_renewal_moves_the_deadline_and_writes_no_event(valkey: Valkey, store: Store) -> None:
    await store.leases.register(instance())
    with valkey.client() as client:
        before, events = client.zscore("mesh:leases", "orders-1"), client.xlen("mesh:changes")
        assert isinstance(before, float)

        async def later() -> bool:
            await store.leases.register(instance())
            now = client.zscore("mesh:leases", "orders-1")
            return isinstance(now, float) and now > before

        await until(later)
        assert client.xlen("mesh:changes") == events == 1


async def test_lease_ends_at_its_deadline_and_not_before(valkey: Valkey, store: Store) -> None:
    patient = Store(valkey.url, valkey.password, lease_ttl=600)
    await patient.open()
    await patient.leases.register(instance("orders-2"))
    await patient.close()
    await _grace_passes(store)
    began = time.monotonic()
    await store.leases.register(instance("orders-1"))
    ended: list[str] = []

    async def gone() -> bool:
        ended.extend(await store.leases.sweep())
        return bool(ended)

    await until(gone)
    assert time.monotonic() - began >= 0.7
    assert ended == ["orders-1"]
    assert await _names(store) == ["orders-2"]


async def _grace_passes(store: Store) -> None:
    """Wait until the grace of the start is over: a lease that nobody renews ends."""
    await store.leases.register(instance("probe", "probe"))
    await until(lambda: _gone(store))


async def test_instance_of_another_service_is_refused(store: Store) -> None:
    await store.leases.register(instance("orders-1", "orders"))
    with pytest.raises(PermissionDeniedError, match="orders-1 belongs to service orders, not thief"):
        await store.leases.register(instance("orders-1", "thief"))
    with pytest.raises(PermissionDeniedError):
        await store.leases.deregister("orders-1", "thief")
    with pytest.raises(PermissionDeniedError):
        await store.leases.set_draining("orders-1", "thief")
    assert await store.leases.instances() == (instance("orders-1", "orders"),)


async def test_deregister_takes_it_out_and_the_service_stays_known(store: Store) -> None:
    await store.leases.register(instance(ports=({"name": "grpc", "protocol": "grpc", "number": 9090},)))
    assert await store.leases.deregister("orders-1", "orders")
    assert not await store.leases.deregister("orders-1", "orders")
    stored = await store.snapshot()
    assert stored.registrations == ()
    assert [(port.name, port.number) for port in stored.services["orders"]] == [("grpc", 9090)]


async def test_draining_keeps_everything_else(store: Store) -> None:
    await store.leases.register(instance(labels=(("version", "v1"),)))
    assert await store.leases.set_draining("orders-1", "orders")
    assert not await store.leases.set_draining("orders-1")
    assert await store.leases.instances() == (instance(labels=(("version", "v1"),), health="draining"),)
    with pytest.raises(NotFoundError, match="orders-9: not registered"):
        await store.leases.set_draining("orders-9")


async def test_nothing_ends_for_one_lease_after_a_start(store: Store, other: Store) -> None:
    await store.leases.register(instance())
    await _deadline_passes(store)
    assert await _lasts(other) >= 0.7


async def test_nothing_ends_for_one_lease_after_the_store_was_away(valkey: Valkey, store: Store) -> None:
    await _grace_passes(store)
    await store.leases.register(instance())
    valkey.stop()
    with pytest.raises(StoreError):
        await store.leases.sweep()
    valkey.start()
    assert await _names(store) == ["orders-1"]
    await _deadline_passes(store)
    assert await _lasts(store) >= 0.7


async def test_nothing_ends_after_a_pause_of_the_control_plane(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshwright.control_plane.store.leases.LONGEST_PAUSE", 0.3)
    await _grace_passes(store)
    await store.leases.register(instance())
    await _deadline_passes(store)
    assert await _lasts(store) >= 0.7


async def test_nothing_ends_while_the_store_refuses_renewals(valkey: Valkey, store: Store) -> None:
    await _grace_passes(store)
    await store.leases.register(instance())
    with valkey.client() as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(StoreError, match="refused a step"):
            await store.leases.register(instance())
        assert "refused a step" in store.health.reason
        await _deadline_passes(store)
        assert await store.leases.sweep() == ()
        assert await _names(store) == ["orders-1"]
        client.config_set("maxmemory", 0)
    assert not await store.leases.register(instance())


async def _lasts(store: Store) -> float:
    """The seconds that a lease which is over stands from the first sweep on: a whole lease of 0.8 s."""
    began = time.monotonic()
    assert await store.leases.sweep() == ()
    assert await _names(store) == ["orders-1"]
    await until(lambda: _gone(store))
    return time.monotonic() - began


async def _deadline_passes(store: Store) -> None:
    """Wait until every lease is over by the store's clock, without a sweep."""
    connection = store._connection
    last = float(await connection.execute("ZSCORE", "mesh:leases", "orders-1"))

    async def over() -> bool:
        seconds, micros = await connection.execute("TIME")
        return int(seconds) * 1000 + int(micros) / 1000 > last

    await until(over)


async def _gone(store: Store) -> bool:
    return bool(await store.leases.sweep())
