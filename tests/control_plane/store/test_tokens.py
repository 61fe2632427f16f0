"""Join token records in a real Valkey, and their effect on enrolment."""

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
    defaults = {"role": "service", "name": "orders", "created": NOW, "expires": NOW + 600, "author": "me"}
    return TokenRecord(id, **{**defaults, **fields})  # type: ignore[arg-type]


def claims(id: str) -> JoinTokenClaims:
    return JoinTokenClaims(Identity("mesh.local", "service", "orders"), "ab" * 32, NOW + 600, id)


def join_tokens(store: Store) -> JoinTokens:
    ids = iter(("first", "second", "third"))

    def sign(identity: Identity, ttl: float) -> str:
        return mint(bytes(32), identity, "ab" * 32, NOW, ttl=ttl, jti=next(ids))

    return JoinTokens(store.tokens, sign, "mesh.local", lambda: NOW)


async def test_recorded_tokens_are_listed_newest_first(store: Store, other: Store) -> None:
    older, newer = token("one", created=NOW - 5), token("two", role="gateway", name="ingress")
    await store.tokens.record(older)
    await store.tokens.record(newer)
    assert await other.tokens.list() == (newer, older)


async def test_uses_are_counted_only_for_recorded_tokens(store: Store) -> None:
    await store.tokens.record(token("one"))
    await store.tokens.add_uses({"one": 2, "stranger": 5})
    await store.tokens.add_uses({"one": 1})
    assert [(record.id, record.uses) for record in await store.tokens.list()] == [("one", 3)]


async def test_revocation_is_announced_once(valkey: Valkey, store: Store, other: Store) -> None:
    await store.tokens.record(token("one"))
    await store.tokens.revoke("one")
    await store.tokens.revoke("one")
    assert await other.tokens.revoked_ids() == {"one"}
    assert [record.revoked for record in await other.tokens.list()] == [True]
    with valkey.client() as client:
        assert client.xlen("mesh:changes") == 1
    with pytest.raises(NotFoundError, match="token two: not found"):
        await store.tokens.revoke("two")


async def test_change_stream_reports_revocations(store: Store, other: Store) -> None:
    await store.tokens.record(token("one"))
    changes = other.changes()
    assert "tokens" in await anext(changes)
    await store.tokens.revoke("one")
    kinds = await anext(changes)
    while not kinds:
        kinds = await anext(changes)
    assert kinds == {"tokens"}
    await changes.aclose()  # type: ignore[attr-defined]


async def test_records_are_deleted_a_day_after_expiry(store: Store) -> None:
    await store.tokens.record(token("old", expires=NOW - tokens.RETENTION - 60))
    await store.tokens.revoke("old")
    assert {record.id for record in await store.tokens.list()} == {"old"}
    await store.tokens.record(token("late", expires=NOW - 60))
    await store.tokens.record(token("new"))
    assert {record.id for record in await store.tokens.list()} == {"late", "new"}
    assert await store.tokens.revoked_ids() == frozenset()


async def test_token_is_recorded_before_it_is_returned_and_its_text_is_not_stored(
    valkey: Valkey, store: Store
) -> None:
    token = await join_tokens(store).mint("service", "orders", 600, "me@here")
    assert parse_unverified(token.token).id == token.id == "first"
    with valkey.client() as client:
        record = str(client.hgetall("mesh:tokens"))
    assert "me@here" in record
    assert token.token.rpartition(".")[2] not in record
    valkey.stop()
    with pytest.raises(StoreError):
        await join_tokens(store).mint("service", "orders", 600, "")


async def test_enrolment_waits_until_revocations_are_loaded(store: Store) -> None:
    enrolment = join_tokens(store)
    with pytest.raises(StoreError, match="not loaded yet"):
        enrolment.check(claims("one"))
    await enrolment.refresh_revocations()
    enrolment.check(claims("one"))


async def test_revocation_by_another_control_plane_survives_an_outage_and_data_loss(
    valkey: Valkey, store: Store, other: Store
) -> None:
    local, remote = join_tokens(store), join_tokens(other)
    token = await remote.mint("service", "orders", 600, "")
    await local.refresh_revocations()
    local.check(parse_unverified(token.token))
    await remote.revoke(token.id)
    await local.refresh_revocations()
    with pytest.raises(PermissionDeniedError, match=r"the join token first of .*orders is revoked"):
        local.check(parse_unverified(token.token))
    with valkey.client() as client:
        client.delete("mesh:tokens:revoked")
    await local.refresh_revocations()
    valkey.stop()
    with pytest.raises(StoreError):
        await local.refresh_revocations()
    with pytest.raises(PermissionDeniedError, match="revoked"):
        local.check(parse_unverified(token.token))


async def test_uses_are_written_after_an_outage(valkey: Valkey, store: Store) -> None:
    tokens_here = join_tokens(store)
    token = await tokens_here.mint("service", "orders", 600, "")
    await tokens_here.refresh_revocations()
    for _ in range(3):
        tokens_here.check(parse_unverified(token.token))
    assert [record.uses for record in await tokens_here.list()] == [3]
    valkey.stop()
    with pytest.raises(StoreError):
        await tokens_here.flush_uses()
    valkey.start()

    async def flushed() -> bool:
        try:
            await tokens_here.flush_uses()
        except StoreError:
            return False
        return True

    await until(flushed)
    assert [record.uses for record in await store.tokens.list()] == [3]
