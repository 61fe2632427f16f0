"""Values in the store that nobody wrote: each is left out or keeps its last good value. The store heals."""

from __future__ import annotations

import time

import pytest
import redis

from meshwright.control_plane.api.models.instances import Port
from meshwright.control_plane.callers import Eviction
from meshwright.control_plane.errors import RevisionConflictError, StoreError
from meshwright.control_plane.store import leases, lua
from meshwright.control_plane.store.store import Store
from meshwright.control_plane.store.tokens import TokenRecord
from tests.control_plane.store.samples import by_ref, instance, retry
from tests.fakes.valkey import Valkey

DAMAGED = ("not json", '[{"name":1', "null", "5", "[]", '{"a": 1}', "\x00", "[" * 100_000, "")
GOOD_PORTS = (Port(name="http", port=80, protocol="http"),)


def healthy(store: Store) -> bool:
    """Whether nothing is wrong with the store."""
    return store.health.status == "ok" and not store.is_damaged


@pytest.fixture
def client(valkey: Valkey) -> redis.Redis:
    """A plain client, which may write anything."""
    return valkey.client()


@pytest.mark.parametrize("text", DAMAGED)
def test_damaged_registration_and_ports_are_left_out_and_named(text: str) -> None:
    problems: list[str] = []
    good = instance("orders-1")
    assert leases.parse_registrations([text, leases.serialize(good)], problems) == (good,)
    assert len(problems) == 1
    problems.clear()
    last = {"back": GOOD_PORTS}
    services = leases.parse_services({"back": text, "front": text}, [], last, problems)
    if text == "[]":  # a service without ports
        assert services == {"back": (), "front": ()}
    else:
        assert services == last
        assert len(problems) == 2


@pytest.mark.parametrize("text", DAMAGED)
def test_damaged_departure_is_left_out(text: str) -> None:
    problems: list[str] = []
    assert leases.parse_departures(["idle", "1000"], {"back": text}, problems).keys() == {"idle"}
    assert len(problems) == 1


async def test_damaged_registration_is_reported_until_it_is_repaired(
    store: Store, client: redis.Redis
) -> None:
    await store.leases.register(instance("orders-1"))
    client.hset(lua.REGISTRATIONS, mapping={"zz/zz": "not json", "yy/yy": b"\xff\xfe"})
    client.hset("mesh:services", "zz", '[{"name":1')
    state = await store.snapshot()
    assert [registration.instance for registration in state.registrations] == ["orders-1"]
    assert state.services.keys() == {"orders"}
    assert (store.health.status, store.is_damaged) == ("degraded", True)
    assert "cannot be read" in store.health.reason
    assert "and so for 2 other values" in store.health.reason
    client.hdel(lua.REGISTRATIONS, "zz/zz", "yy/yy")
    client.hdel("mesh:services", "zz")
    await store.snapshot()
    assert (store.health.status, store.is_damaged) == ("ok", False)


@pytest.mark.parametrize("field", ["documents", "changed", "time"])
@pytest.mark.parametrize("text", ["not json", "[[", "", "{}x"])
async def test_unreadable_revision_leaves_the_last_good_one_in_force(
    store: Store, client: redis.Redis, field: str, text: str
) -> None:
    await store.commit(0, by_ref(retry("a")), "ann", "")
    await store.snapshot()
    await store.commit(1, by_ref(retry("a", 2)), "ann", "")
    good = client.hget("mesh:revision:2", field)
    client.hset("mesh:revision:2", field, text)
    await store.leases.register(instance("orders-1"))
    state = await store.snapshot()
    assert state.revision.number == 1
    assert [registration.instance for registration in state.registrations] == ["orders-1"]
    assert "revision 2 in the store cannot be read" in store.health.reason
    with pytest.raises(StoreError, match="revision 2"):
        await store.commit(1, by_ref(retry("b")), "ann", "")
    client.hset("mesh:revision:2", field, str(good))
    assert (await store.snapshot()).revision.number == 2
    assert healthy(store)


async def test_unreadable_revision_at_the_start_is_an_error_until_it_is_repaired(
    store: Store, other: Store, client: redis.Redis
) -> None:
    await store.commit(0, by_ref(retry("a")), "ann", "")
    good = client.hget("mesh:revision:1", "documents")
    client.hset("mesh:revision:1", "documents", "not json")
    with pytest.raises(StoreError, match="cannot be read"):
        await other.snapshot()
    assert other.health.status == "degraded"
    client.hset("mesh:revision:1", "documents", str(good))
    assert (await other.snapshot()).revision.number == 1
    assert healthy(other)


@pytest.mark.parametrize("number", ["abc", "", "999999", "-5", "1e400"])
async def test_damaged_revision_number_is_not_remembered(
    store: Store, client: redis.Redis, number: str
) -> None:
    await store.commit(0, by_ref(retry("a")), "ann", "")
    await store.snapshot()
    client.set("mesh:revision", number)
    try:
        state = await store.snapshot()
    except StoreError:
        pass
    else:
        assert state.revision.number == 1
    assert store.health.status == "degraded"
    client.set("mesh:revision", "1")
    assert (await store.snapshot()).revision.number == 1
    assert healthy(store)


async def test_lost_text_keeps_its_last_good_one_and_no_commit_drops_it(
    store: Store, other: Store, client: redis.Redis
) -> None:
    await store.commit(0, by_ref(retry("a"), retry("b")), "ann", "")
    await store.snapshot()
    newer = retry("a", 2)
    await other.commit(1, by_ref(newer, retry("b")), "ann", "")
    client.set(lua.DOCUMENT + newer.digest, "altered")
    served = (await store.snapshot()).revision
    assert (served.number, served.documents["Retry/a"].text) == (2, retry("a").text)
    assert "lost the text of Retry/a" in store.health.reason
    current = await store.current()
    assert (set(current.documents), current.lost) == ({"Retry/b"}, ("Retry/a",))
    with pytest.raises(StoreError, match="lost the text of Retry/a: apply it with this change"):
        await store.commit(2, by_ref(retry("b"), retry("c")), "ann", "")
    with pytest.raises(StoreError, match="lost the text"):
        await store.get(2)
    committed = await store.commit(2, by_ref(retry("a", 3), retry("b")), "ann", "")
    assert committed.number == 3
    assert (await store.snapshot()).revision.documents.keys() == {"Retry/a", "Retry/b"}
    assert healthy(store)


async def test_lost_text_at_the_start_leaves_the_other_documents(
    store: Store, other: Store, client: redis.Redis
) -> None:
    await store.commit(0, by_ref(retry("a"), retry("b")), "ann", "")
    client.delete(lua.DOCUMENT + retry("a").digest)
    assert (await other.snapshot()).revision.documents.keys() == {"Retry/b"}
    assert other.health.status == "degraded"
    client.set(lua.DOCUMENT + retry("a").digest, retry("a").text)
    assert (await other.snapshot()).revision.documents.keys() == {"Retry/a", "Retry/b"}
    assert healthy(other)


async def test_damaged_records_of_history_tokens_events_and_evictions_are_left_out(
    store: Store, client: redis.Redis
) -> None:
    await store.commit(0, by_ref(retry("a")), "ann", "")
    await store.commit(1, by_ref(retry("b")), "ann", "")
    client.hset("mesh:revision:1", "changed", "not json")
    assert [(info.revision, info.message) for info in await store.history()] == [
        (2, ""),
        (1, "cannot be read"),
    ]
    await store.tokens.record(TokenRecord("good", "service", "orders", time.time(), time.time() + 60))
    for number, text in enumerate(DAMAGED):
        client.hset("mesh:tokens", f"bad{number}", text)
        client.hset("mesh:evictions", f"bad{number}", text)
    client.hset("mesh:tokens:uses", "good", "many")
    assert await store.tokens.list() == ()
    client.hset("mesh:tokens:uses", "good", "3")
    assert [(token.id, token.uses) for token in await store.tokens.list()] == [("good", 3)]
    eviction = Eviction("aa", "spiffe://mesh.local/service/evil", "evil-1", "ann", "", 1.0, time.time() + 60)
    await store.evictions.add([eviction])
    assert await store.evictions.list() == (eviction,)
    client.set(lua.EVENTS_REVISION, "abc")
    assert await store.events.last_revision() == 0


async def test_keys_of_another_type_are_an_error_until_they_are_repaired(
    store: Store, client: redis.Redis
) -> None:
    for key in (lua.REGISTRATIONS, "mesh:services"):
        client.set(key, "text")
        with pytest.raises(StoreError, match="rejected a command"):
            await store.snapshot()
        client.delete(key)
        await store.snapshot()
    assert healthy(store)
    with pytest.raises(RevisionConflictError):
        await store.commit(7, by_ref(retry("a")), "ann", "")
