"""Users in two processes on one database. The tests stand in for the gateway: they send its headers."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.jwk import KeySet

from tests.services.processes import Response, ServiceProcess, Shop

PASSWORD = "correct horse battery"


@dataclass
class Person:
    """A person with tokens, and the headers that the gateway makes of the access token."""

    id: str
    refresh_token: str
    headers: dict[str, str]


async def post(shop: Shop, users: ServiceProcess, path: str, **body: Any) -> Response:
    return await shop.call(users, "POST", f"/api/auth/{path}", body)


async def log_in(shop: Shop, users: ServiceProcess, email: str) -> Person:
    tokens = await post(shop, users, "login", email=email, password=PASSWORD)
    assert tokens.status == 200
    assert tokens.body["expires_in"] == 300
    keys = KeySet.import_key_set((await shop.call(users, "GET", "/.well-known/jwks.json")).body)
    assert all("d" not in key for key in keys.as_dict()["keys"])
    token = jwt.decode(tokens.body["access_token"], keys, algorithms=["ES256"])
    claims = token.claims
    assert (claims["iss"], claims["aud"]) == ("https://users.exchange.example", "exchange")
    assert claims["exp"] - claims["iat"] == 300
    roles = base64.urlsafe_b64encode(json.dumps(claims["roles"]).encode()).decode()
    headers = {
        "x-user-id": claims["sub"],
        "x-user-email": claims["email"],
        "x-user-roles": roles,
        "x-session-id": claims["sid"],
    }
    return Person(claims["sub"], tokens.body["refresh_token"], headers)


async def test_people_sign_up_log_in_and_see_only_themselves(shop: Shop) -> None:
    first, second = await asyncio.gather(shop.start("users"), shop.start("users"))
    for email in ("Ada@example.com", "bob@example.com"):
        signed_up = await post(shop, first, "signup", email=email, password=PASSWORD, name="A person")
        assert (signed_up.status, signed_up.body["roles"]) == (201, ["customer"])
    taken = await post(shop, second, "signup", email="ada@example.com", password=PASSWORD)
    assert (taken.status, taken.code) == (409, "email_taken")
    assert (await post(shop, second, "signup", email="eve@example.com", password="short")).status == 422
    for email, password in (("ada@example.com", "wrong password"), ("nobody@example.com", PASSWORD)):
        failed = await post(shop, second, "login", email=email, password=password)
        assert (failed.status, failed.code) == (401, "login_failed")

    ada, bob = await log_in(shop, second, "ada@example.com"), await log_in(shop, first, "bob@example.com")

    async def get(path: str, person: Person | None) -> Response:
        return await shop.call(first, "GET", path, by=person.headers if person else {})

    profile = f"/api/users/{ada.id}"
    assert (await get(profile, ada)).body["email"] == "ada@example.com"
    assert (await get(profile, bob)).status == 403
    assert (await get(profile, None)).status == 401
    changed = await shop.call(first, "PUT", profile, {"name": "Ada"}, by=ada.headers)
    assert (changed.status, changed.body["name"]) == (200, "Ada")
    taken_email = {"name": "Ada", "email": "BOB@example.com"}
    clash = await shop.call(first, "PUT", profile, taken_email, by=ada.headers)
    assert clash.code == "email_taken"

    await check_nfts(shop, first, bob, ada)
    roles = f"/api/users/{bob.id}/roles"
    assert (await get(roles, ada)).code == "forbidden"
    assert await shop.run("users", "admin", "nobody@example.com") == (
        1,
        "users: nobody has signed up with nobody@example.com: sign up first\n",
    )
    assert (await shop.run("users", "admin", "Ada@example.com"))[0] == 0
    admin = await log_in(shop, first, "ada@example.com")
    granted = await shop.call(first, "PUT", roles, {"role": "support"}, by=admin.headers)
    assert granted.body["roles"] == ["customer", "support"]
    taken_back = await shop.call(second, "DELETE", roles, {"role": "support"}, by=admin.headers)
    assert taken_back.body["roles"] == ["customer"]

    export = (await get(f"/api/users/{bob.id}/export", bob)).body
    assert export["user"]["email"] == "bob@example.com"
    assert [session["ended"] for session in export["sessions"]] == [None]
    assert (await shop.call(first, "DELETE", f"/api/users/{bob.id}", by=bob.headers)).status == 204
    assert (await get(f"/api/users/{bob.id}", bob)).code == "session_ended"
    assert (await post(shop, second, "login", email="bob@example.com", password=PASSWORD)).status == 401
    assert (await get(f"/api/users/{bob.id}", admin)).code == "user_not_found"
    for log in (first.log.read_text(), second.log.read_text()):
        assert all(secret not in log for secret in (PASSWORD, ada.refresh_token))


async def check_nfts(shop: Shop, users: ServiceProcess, owner: Person, other: Person) -> None:
    """Users says what nfts knows of a person, once it is there."""

    async def owned(person: Person) -> Response:
        return await shop.call(users, "GET", f"/api/users/{owner.id}/nfts", by=person.headers)

    assert (await owned(owner)).code == "nfts_unavailable"
    nfts = await shop.start("nfts")
    minted = await shop.call(nfts, "POST", "/api/nfts", {"name": "First"}, by=owner.headers)
    assert (await owned(owner)).body == {"nfts": [{"id": minted.body["id"], "name": "First"}]}
    assert (await owned(other)).status == 403


async def test_refresh_tokens_count_once_and_logout_ends_the_session(shop: Shop) -> None:
    first, second = await asyncio.gather(shop.start("users"), shop.start("users"))
    await post(shop, first, "signup", email="ada@example.com", password=PASSWORD)
    thief, ada = [await log_in(shop, first, "ada@example.com") for _ in range(2)]

    async def is_open(person: Person) -> bool:
        response = await shop.call(second, "GET", f"/api/users/{person.id}", by=person.headers)
        return response.status == 200

    refreshed = await post(shop, second, "refresh", refresh_token=thief.refresh_token)
    assert refreshed.status == 200
    reused = await post(shop, first, "refresh", refresh_token=thief.refresh_token)
    assert (reused.status, reused.code) == (401, "refresh_token_reused")
    newest = await post(shop, first, "refresh", refresh_token=refreshed.body["refresh_token"])
    assert (newest.status, newest.code) == (401, "refresh_token_invalid")
    assert not await is_open(thief)

    assert await is_open(ada)
    assert (await post(shop, first, "logout", refresh_token=ada.refresh_token)).status == 204
    assert not await is_open(ada)
    assert (await post(shop, second, "refresh", refresh_token=ada.refresh_token)).status == 401
    assert (await post(shop, second, "logout", refresh_token="unknown")).status == 204
