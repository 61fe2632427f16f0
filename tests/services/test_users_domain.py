"""When signing keys change, and who may see or change a user."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwright.services.kit.callers import Requester, read_caller
from meshwright.services.users import domain
from meshwright.services.users.domain import SigningKey

MINUTE = 60_000


@given(st.lists(st.integers(1, 40 * 24 * 60), min_size=1, max_size=40))
def test_every_token_is_verified_by_proxies_with_an_old_key_set(pauses: list[int]) -> None:
    """Keys are looked at after any pauses, in minutes. Proxies keep a key set for five minutes at most."""
    keys: list[SigningKey] = []
    now, fetched = 0, None
    signed: list[tuple[int, str]] = []
    for pause in pauses:
        now += pause * MINUTE
        if domain.needs_key(keys, now):
            keys.append(SigningKey(f"k{now}", now, ""))
        retired = domain.retired_keys(keys, now)
        keys = [key for key in keys if key not in retired]
        published = {key.kid for key in keys}
        signed = [(expiry, kid) for expiry, kid in signed if expiry > now]
        assert {kid for _, kid in signed} <= published
        signer = domain.signing_key(keys, now)
        if fetched is not None and pause <= 5:
            assert signer.kid in fetched
        signed.append((now + 1000 * domain.ACCESS_SECONDS, signer.kid))
        fetched = published
        assert len(keys) <= 3


def test_people_see_themselves_and_staff_sees_all() -> None:
    assert Requester("ada").may_read("ada")
    assert domain.may_change("ada", ("customer",), "ada")
    assert not Requester("ada", roles=frozenset({"customer"})).may_read("bob")
    assert Requester("ada", roles=frozenset({"support"})).may_read("bob")
    assert not domain.may_change("ada", ("support",), "bob")
    assert domain.may_change("ada", ("admin",), "bob")


def test_addresses_are_compared_without_case() -> None:
    assert domain.normal_email(" Ada@Example.com ") == "ada@example.com"


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def test_caller_is_read_from_the_headers_of_the_gateway() -> None:
    headers = {
        "x-user-id": "ada",
        "x-user-email": "a@b",
        "x-user-roles": encoded(["admin"]),
        "x-session-id": "s",
    }
    assert read_caller(headers) == Requester("ada", "a@b", frozenset({"admin"}), "s")
    assert read_caller({"x-user-roles": encoded(["admin"])}) is None


@pytest.mark.parametrize("roles", ["admin", "%%%", encoded("admin"), encoded([1]), "é"])
def test_roles_that_cannot_be_read_are_none(roles: str) -> None:
    assert read_caller({"x-user-id": "ada", "x-user-roles": roles}) == Requester("ada")
