"""Join tokens on record in a real Valkey, and what enrolment makes of it."""

from __future__ import annotations

import time

import pytest

from control_plane.api.spiffe import Identity
from control_plane.api.tokens import Claims, peek
from control_plane.ca.tokens import mint
from control_plane.errors import NotFoundError, RefusedError, StoreError
from control_plane.join_tokens import JoinTokens
from control_plane.store import tokens
from control_plane.store.redis import Store
from control_plane.store.tokens import Recorded
from tests.fakes.valkey import Valkey
from tests.store.samples import until

NOW = time.time()


def token(id: str = "one", **fields: object) -> Recorded:
    given = {"role": "service", "name": "orders", "created": NOW, "expires": NOW + 600, "author": "me"}
    return Recorded(id, **{**given, **fields})  # type: ignore[arg-type]


def claims(id: str) -> Claims:
    return Claims(Identity("mesh.local", "service", "orders"), "ab" * 32, NOW + 600, id)


def join_tokens(store: Store) -> JoinTokens:
    ids = iter(("first", "second", "third"))

    def minted(identity: Identity, ttl: float) -> str:
        return mint(bytes(32), identity, "ab" * 32, NOW, ttl=ttl, jti=next(ids))

    return JoinTokens(store.tokens, minted, "mesh.local", lambda: NOW)


async def test_what_is_recorded_is_listed_newest_first(store: Store, other: Store) -> None:
    older, newer = token("one", created=NOW - 5), token("two", role="gateway", name="ingress")
    await store.tokens.record(older)
    await store.tokens.record(newer)
    assert await other.tokens.listed() == (newer, older)


async def test_uses_are_counted_for_known_tokens_only(store: Store) -> None:
    await store.tokens.record(token("one"))
    await store.tokens.add_uses({"one": 2, "stranger": 5})
    await store.tokens.add_uses({"one": 1})
    assert [(one.id, one.uses) for one in await store.tokens.listed()] == [("one", 3)]


async def test_a_revoked_token_is_told_to_all_once(valkey: Valkey, store: Store, other: Store) -> None:
    await store.tokens.record(token("one"))
    await store.tokens.revoke("one")
    await store.tokens.revoke("one")
    assert await other.tokens.revoked() == {"one"}
    assert [one.revoked for one in await other.tokens.listed()] == [True]
    with valkey.client() as client:
        assert client.xlen("mesh:changes") == 1
    with pytest.raises(NotFoundError, match="token two: there is none"):
        await store.tokens.revoke("two")


async def test_the_stream_tells_of_revocations(store: Store, other: Store) -> None:
    await store.tokens.record(token("one"))
    changes = other.changes()
    assert "tokens" in await anext(changes)
    await store.tokens.revoke("one")
    found = await anext(changes)
    while not found:
        found = await anext(changes)
    assert found == {"tokens"}
    await changes.aclose()  # type: ignore[attr-defined]


async def test_tokens_are_forgotten_a_day_after_they_expired(store: Store) -> None:
    await store.tokens.record(token("old", expires=NOW - tokens.KEPT_AFTER - 60))
    await store.tokens.revoke("old")
    assert {one.id for one in await store.tokens.listed()} == {"old"}
    await store.tokens.record(token("late", expires=NOW - 60))
    await store.tokens.record(token("new"))
    assert {one.id for one in await store.tokens.listed()} == {"late", "new"}
    assert await store.tokens.revoked() == frozenset()


async def test_a_token_is_on_record_before_it_is_given_and_never_in_it(valkey: Valkey, store: Store) -> None:
    made = await join_tokens(store).mint("service", "orders", 600, "me@here")
    assert peek(made.token).id == made.id == "first"
    with valkey.client() as client:
        record = str(client.hgetall("mesh:tokens"))
    assert "me@here" in record
    assert made.token.rpartition(".")[2] not in record
    valkey.stop()
    with pytest.raises(StoreError):
        await join_tokens(store).mint("service", "orders", 600, "")


async def test_nobody_enrols_until_it_is_known_what_is_revoked(store: Store) -> None:
    enrolment = join_tokens(store)
    with pytest.raises(StoreError, match="not told yet"):
        enrolment.admit(claims("one"))
    await enrolment.follow()
    enrolment.admit(claims("one"))


async def test_a_revocation_elsewhere_counts_here_and_stays_when_the_store_is_away_or_forgets(
    valkey: Valkey, store: Store, other: Store
) -> None:
    here, elsewhere = join_tokens(store), join_tokens(other)
    made = await elsewhere.mint("service", "orders", 600, "")
    await here.follow()
    here.admit(peek(made.token))
    await elsewhere.revoke(made.id)
    await here.follow()
    with pytest.raises(RefusedError, match=r"the join token first of .*orders is revoked"):
        here.admit(peek(made.token))
    with valkey.client() as client:
        client.delete("mesh:tokens:revoked")
    await here.follow()
    valkey.stop()
    with pytest.raises(StoreError):
        await here.follow()
    with pytest.raises(RefusedError, match="revoked"):
        here.admit(peek(made.token))


async def test_uses_wait_for_a_store_that_is_away(valkey: Valkey, store: Store) -> None:
    mine = join_tokens(store)
    made = await mine.mint("service", "orders", 600, "")
    await mine.follow()
    for _ in range(3):
        mine.admit(peek(made.token))
    assert [one.uses for one in await mine.listed()] == [3]
    valkey.stop()
    with pytest.raises(StoreError):
        await mine.write_uses()
    valkey.start()

    async def written() -> bool:
        try:
            await mine.write_uses()
        except StoreError:
            return False
        return True

    await until(written)
    assert [one.uses for one in await store.tokens.listed()] == [3]
