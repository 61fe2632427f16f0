"""Leases in a real Valkey: registrations, their deadlines, and the grace period after an outage."""

from __future__ import annotations

import time

import pytest

from meshwright.control_plane.errors import InputError, NotFoundError, PermissionDeniedError, StoreError
from meshwright.control_plane.store import lease_scripts, leases, lua
from meshwright.control_plane.store.leases import InstanceKey
from meshwright.control_plane.store.store import Store
from tests.control_plane.store.samples import instance, until
from tests.fakes.valkey import Valkey


async def _names(store: Store) -> list[str]:
    return [registration.instance for registration in await store.leases.instances()]


async def test_registration_counts_as_a_change_only_with_new_content(store: Store) -> None:
    registration = instance(labels=(("b", "2"), ("a", "1")))
    assert await store.leases.register(registration)
    assert not await store.leases.register(registration)
    assert not await store.leases.register(instance(labels=(("a", "1"), ("b", "2"))))
    assert await store.leases.register(instance(health="unhealthy"))
    assert await store.leases.instances() == (instance(health="unhealthy"),)


async def test_renewal_moves_the_deadline_and_announces_no_change(valkey: Valkey, store: Store) -> None:
    await store.leases.register(instance())
    with valkey.client() as client:
        deadline, changes = client.zscore("mesh:leases", "orders/orders-1"), client.xlen("mesh:changes")
        assert isinstance(deadline, float)

        async def moved() -> bool:
            await store.leases.register(instance())
            current = client.zscore("mesh:leases", "orders/orders-1")
            return isinstance(current, float) and current > deadline

        await until(moved)
        assert client.xlen("mesh:changes") == changes == 1


async def test_lease_expires_at_its_deadline_and_not_before(valkey: Valkey, store: Store) -> None:
    patient = Store(valkey.url, valkey.password, lease_ttl=600)
    await patient.open()
    await patient.leases.register(instance("orders-2"))
    await patient.close()
    await _grace_period_ends(store)
    start = time.monotonic()
    await store.leases.register(instance("orders-1"))
    expired: list[InstanceKey] = []

    async def swept() -> bool:
        expired.extend(await store.leases.sweep())
        return bool(expired)

    await until(swept)
    assert time.monotonic() - start >= 0.7
    assert expired == [("orders", "orders-1")]
    assert await _names(store) == ["orders-2"]


async def _grace_period_ends(store: Store) -> None:
    """Wait until the grace period of the start is over: a lease without renewal expires."""
    await store.leases.register(instance("probe", "probe"))
    await until(lambda: _sweeps_any(store))


async def test_services_have_name_spaces_of_their_own(store: Store) -> None:
    for service in ("orders", "thief"):
        await store.leases.register(instance("orders-1", service))
    assert await store.leases.set_draining("orders-1", "thief")
    assert await store.leases.instances() == (
        instance("orders-1", "orders"),
        instance("orders-1", "thief", health="draining"),
    )
    assert await store.leases.deregister("orders-1", "thief")
    assert not await store.leases.deregister("orders-1", "thief")
    assert await store.leases.instances() == (instance("orders-1", "orders"),)


async def test_a_service_has_a_bounded_number_of_instances(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = lease_scripts.REGISTER.text.replace(str(lease_scripts.INSTANCES_LIMIT), "3")
    monkeypatch.setattr(lease_scripts, "REGISTER", lua.Script("register", text))
    for name in ("evil-1", "evil-2", "evil-3"):
        await store.leases.register(instance(name, "evil"))
    with pytest.raises(PermissionDeniedError, match="service evil already has"):
        await store.leases.register(instance("evil-4", "evil"))
    assert await store.leases.register(instance("evil-1", "evil", health="unhealthy"))
    assert await store.leases.register(instance("evil-4", "evi"))
    assert await store.leases.register(instance("orders-1"))


async def test_deregister_removes_the_instance_and_keeps_the_service(store: Store) -> None:
    await store.leases.register(instance(ports=({"name": "grpc", "protocol": "grpc", "number": 9090},)))
    assert await store.leases.deregister("orders-1", "orders")
    assert not await store.leases.deregister("orders-1", "orders")
    stored = await store.snapshot()
    assert stored.registrations == ()
    assert [(port.name, port.number) for port in stored.services["orders"]] == [("grpc", 9090)]


async def test_a_service_whose_last_instance_left_cleanly_is_idle_and_then_forgotten(store: Store) -> None:
    await store.leases.register(instance())
    await store.leases.register(instance("orders-2"))
    await store.leases.deregister("orders-1", "orders", "exited with code 1")
    await store.leases.deregister("orders-2", "orders")
    departure = (await store.snapshot()).departures["orders"]
    assert (departure.failure, departure.time > 0) == ("", True)
    store.leases._idle_ttl = 0
    await _grace_period_ends(store)
    await store.leases.sweep()
    assert "orders" not in (await store.snapshot()).services


async def test_a_service_that_failed_is_remembered_until_it_is_forgotten(store: Store) -> None:
    store.leases._idle_ttl = 0
    await _grace_period_ends(store)
    await store.leases.register(instance())
    await _deadline_passes(store)
    assert await store.leases.sweep()
    departure = (await store.snapshot()).departures["orders"]
    assert (departure.instance, departure.failure) == ("orders-1", "its lease expired")
    await store.leases.register(instance("crashing-1", "crashing"))
    await store.leases.deregister("crashing-1", "crashing", "ended by signal 9")
    await store.leases.sweep()
    snapshot = await store.snapshot()
    assert snapshot.departures["crashing"].failure == "ended by signal 9"
    assert {"orders", "crashing"} <= set(snapshot.services)
    await store.leases.forget("orders")
    await store.leases.register(instance("crashing-1", "crashing"))
    with pytest.raises(InputError, match="has instances"):
        await store.leases.forget("crashing")
    with pytest.raises(NotFoundError, match="service orders: not found"):
        await store.leases.forget("orders")
    snapshot = await store.snapshot()
    assert ("orders" in snapshot.services, "orders" in snapshot.departures) == (False, False)
    assert "crashing" not in snapshot.departures


async def test_a_caller_without_ports_never_counts_as_failed(store: Store) -> None:
    await store.leases.register(instance("probe-1", "probe", ports=()))
    await store.leases.deregister("probe-1", "probe", "exited with code 1")
    assert (await store.snapshot()).departures["probe"].failure == ""


async def test_draining_keeps_everything_else(store: Store) -> None:
    await store.leases.register(instance(labels=(("version", "v1"),)))
    assert await store.leases.set_draining("orders-1", "orders")
    assert not await store.leases.set_draining("orders-1", "orders")
    assert await store.leases.instances() == (instance(labels=(("version", "v1"),), health="draining"),)
    with pytest.raises(NotFoundError, match="orders-9 of orders: not registered"):
        await store.leases.set_draining("orders-9", "orders")


async def test_no_lease_expires_within_one_ttl_of_a_start(store: Store, other: Store) -> None:
    await store.leases.register(instance())
    await _deadline_passes(store)
    assert await _seconds_until_expiry(other) >= 0.7


async def test_no_lease_expires_within_one_ttl_of_an_outage(valkey: Valkey, store: Store) -> None:
    await _grace_period_ends(store)
    await store.leases.register(instance())
    valkey.stop()
    with pytest.raises(StoreError):
        await store.leases.sweep()
    valkey.start()
    assert await _names(store) == ["orders-1"]
    await _deadline_passes(store)
    assert await _seconds_until_expiry(store) >= 0.7


async def test_no_lease_expires_after_a_pause_of_the_control_plane(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "MAX_SWEEP_GAP", 0.3)
    await _grace_period_ends(store)
    await store.leases.register(instance())
    await _deadline_passes(store)
    assert await _seconds_until_expiry(store) >= 0.7


async def test_no_lease_expires_while_the_store_rejects_renewals(valkey: Valkey, store: Store) -> None:
    await _grace_period_ends(store)
    await store.leases.register(instance())
    with valkey.client() as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(StoreError, match="rejected a command"):
            await store.leases.register(instance())
        assert "rejected a command" in store.health.reason
        await _deadline_passes(store)
        assert await store.leases.sweep() == ()
        assert await _names(store) == ["orders-1"]
        client.config_set("maxmemory", 0)
    assert not await store.leases.register(instance())


async def _seconds_until_expiry(store: Store) -> float:
    """Seconds from the first sweep until an overdue lease expires: one TTL of 0.8 s."""
    start = time.monotonic()
    assert await store.leases.sweep() == ()
    assert await _names(store) == ["orders-1"]
    await until(lambda: _sweeps_any(store))
    return time.monotonic() - start


async def _deadline_passes(store: Store) -> None:
    """Wait until the lease is overdue by the store's clock, without a sweep."""
    connection = store._connection
    deadline = float(await connection.execute("ZSCORE", "mesh:leases", "orders/orders-1"))

    async def overdue() -> bool:
        seconds, micros = await connection.execute("TIME")
        return int(seconds) * 1000 + int(micros) / 1000 > deadline

    await until(overdue)


async def _sweeps_any(store: Store) -> bool:
    return bool(await store.leases.sweep())
