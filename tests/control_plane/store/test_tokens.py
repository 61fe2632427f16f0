"""Join tokens on record in a real Valkey, and what enrolment makes of it."""

from __future__ import annotations

import time

import pytest

from meshwright.control_plane.api.join_token import JoinTokenClaims, parse_unverified
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.ca.join_tokens import JoinTokens
from meshwright.control_plane.ca.token_signing import mint
from meshwright.control_plane.errors import NotFoundError, PermissionDeniedError, StoreError
from meshwright.control_plane.store import tokens
from meshwright.control_plane.store.store import Store
from meshwright.control_plane.store.tokens import TokenRecord
from tests.control_plane.store.samples import until
from tests.fakes.valkey import Valkey

NOW = time.time()


def token(id: str = "one", **fields: object) -> TokenRecord:
    given = {"role": "service", "name": "orders", "created": NOW, "expires": NOW + 600, "author": "me"}
    return TokenRecord(id, **{**given, **fields})  # type: ignore[arg-type]


def claims(id: str) -> JoinTokenClaims:
    return JoinTokenClaims(Identity("mesh.local", "service", "orders"), "ab" * 32, NOW + 600, id)


def join_tokens(store: Store) -> JoinTokens:
    ids = iter(("first", "second", "third"))

    def minted(identity: Identity, ttl: float) -> str:
        return mint(bytes(32), identity, "ab" * 32, NOW, ttl=ttl, jti=next(ids))

    return JoinTokens(store.tokens, minted, "mesh.local", lambda: NOW)


async def test_what_is_recorded_is_listed_newest_first(store: Store, other: Store) -> None:
    older, newer = token("one", created=NOW - 5), token("two", role="gateway", name="ingress")
    await store.tokens.record(older)
    await store.tokens.record(newer)
    assert await other.tokens.list() == (newer, older)


async def test_uses_are_counted_for_known_tokens_only(store: Store) -> None:
    await store.tokens.record(token("one"))
    await store.tokens.add_uses({"one": 2, "stranger": 5})
    await store.tokens.add_uses({"one": 1})
    assert [(one.id, one.uses) for one in await store.tokens.list()] == [("one", 3)]


async def test_a_revoked_token_is_told_to_all_once(valkey: Valkey, store: Store, other: Store) -> None:
    await store.tokens.record(token("one"))
    await store.tokens.revoke("one")
    await store.tokens.revoke("one")
    assert await other.tokens.revoked_ids() == {"one"}
    assert [one.revoked for one in await other.tokens.list()] == [True]
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
    await store.tokens.record(token("old", expires=NOW - tokens.RETENTION - 60))
    await store.tokens.revoke("old")
    assert {one.id for one in await store.tokens.list()} == {"old"}
    await store.tokens.record(token("late", expires=NOW - 60))
    await store.tokens.record(token("new"))
    assert {one.id for one in await store.tokens.list()} == {"late", "new"}
    assert await store.tokens.revoked_ids() == frozenset()


async def test_a_token_is_on_record_before_it_is_given_and_never_in_it(valkey: Valkey, store: Store) -> None:
    made = await join_tokens(store).mint("service", "orders", 600, "me@here")
    assert parse_unverified(made.token).id == made.id == "first"
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
        enrolment.check(claims("one"))
    await enrolment.refresh_revocations()
    enrolment.check(claims("one"))


async def test_a_revocation_elsewhere_counts_here_and_stays_when_the_store_is_away_or_forgets(
    valkey: Valkey, store: Store, other: Store
) -> None:
    here, elsewhere = join_tokens(store), join_tokens(other)
    made = await elsewhere.mint("service", "orders", 600, "")
    await here.refresh_revocations()
    here.check(parse_unverified(made.token))
    await elsewhere.revoke(made.id)
    await here.refresh_revocations()
    with pytest.raises(PermissionDeniedError, match=r"the join token first of .*orders is revoked"):
        here.check(parse_unverified(made.token))
    with valkey.client() as client:
        client.delete("mesh:tokens:revoked")
    await here.refresh_revocations()
    valkey.stop()
    with pytest.raises(StoreError):
        await here.refresh_revocations()
    with pytest.raises(PermissionDeniedError, match="revoked"):
        here.check(parse_unverified(made.token))


async def test_uses_wait_for_a_store_that_is_away(valkey: Valkey, store: Store) -> None:
    mine = join_tokens(store)
    made = await mine.mint("service", "orders", 600, "")
    await mine.refresh_revocations()
    for _ in range(3):
        mine.check(parse_unverified(made.token))
    assert [one.uses for one in await mine.list()] == [3]
    valkey.stop()
    with pytest.raises(StoreError):
        await mine.flush_uses()
    valkey.start()

    async def written() -> bool:
        try:
            await mine.flush_uses()
        except StoreError:
            return False
        return True

    await until(written)
    assert [one.uses for one in await store.tokens.list()] == [3]
