"""NFTs in two processes on one database, with users and trading beside them."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.services.processes import Response, ServiceProcess, Shop, caller, until

NOBODY = "0" * 32
PASSWORD = "correct horse battery"


async def sign_up(shop: Shop, users: ServiceProcess, email: str) -> str:
    """A new user; returns the id."""
    response = await shop.call(users, "POST", "/api/auth/signup", {"email": email, "password": PASSWORD})
    return str(response.body["id"])


async def mint(shop: Shop, nfts: ServiceProcess, user: str, key: str = "", **body: Any) -> Response:
    headers = {"Idempotency-Key": key} if key else {}
    return await shop.call(nfts, "POST", "/api/nfts", body, headers, by=caller(user, "customer"))


async def test_nft_is_minted_once_given_away_and_worth_its_quote(shop: Shop) -> None:
    users, trading = await asyncio.gather(
        shop.start("users"), shop.start("trading", TICKS_PER_SECOND="0.001")
    )
    directory = {"USERS": f"127.0.0.1:{users.grpc_port}"}
    first, second = await asyncio.gather(shop.start("nfts", **directory), shop.start("nfts", **directory))
    ada, bob = [await sign_up(shop, users, f"{name}@example.com") for name in ("ada", "bob")]

    async def quoted() -> Response | None:
        response = await shop.call(trading, "GET", "/api/quotes/BTC")
        return response if response.status == 200 else None

    price = (await until(quoted)).body["price"]
    facts: dict[str, Any] = {
        "name": "Genesis",
        "metadata": {"colour": "gold"},
        "backing": {"symbol": "BTC", "quantity": 3},
    }
    minted, again = await asyncio.gather(*(mint(shop, nfts, ada, "k", **facts) for nfts in (first, second)))
    assert (minted.status, again.status) == (201, 201)
    assert again.body == minted.body
    assert (minted.body["creatorId"], minted.body["ownerId"], minted.body["owners"]) == (ada, ada, [ada])
    assert (await mint(shop, second, ada, "k", name="Another")).code == "idempotency_key_reused"
    plain = await mint(shop, second, ada, name="Plain")
    assert plain.body["backing"] is None
    unknown = await mint(shop, first, ada, name="x", backing={"symbol": "DOGE", "quantity": 1})
    assert (unknown.status, unknown.code) == (422, "unknown_symbol")

    path = minted.headers["location"]

    async def transfer(by: str, to: str, nfts: ServiceProcess = first) -> Response:
        return await shop.call(nfts, "POST", f"{path}/transfer", {"toUserId": to}, by=caller(by))

    assert (await transfer(bob, bob)).code == "not_owner"
    assert (await transfer(ada, NOBODY)).code == "unknown_user"
    given = await asyncio.gather(*(transfer(ada, bob, nfts) for nfts in (first, second)))
    assert [response.status for response in given] == [200, 200]
    assert given[0].body["owners"] == given[1].body["owners"] == [ada, bob]
    assert (await shop.call(second, "GET", path, by=caller("eve"))).body == given[0].body

    await check_lists(shop, second, ada, bob, price)
    await trading.stop()
    shop.remove_from_proxy(trading)
    silent = await shop.call(first, "GET", "/api/portfolio", by=caller(bob))
    assert (silent.status, silent.body["total"], silent.body["missing"]) == (200, 0, ["BTC"])
    assert (await mint(shop, first, ada, **facts)).code == "trading_unavailable"
    await users.stop()
    assert (await transfer(bob, ada)).code == "users_unavailable"


async def check_lists(shop: Shop, nfts: ServiceProcess, ada: str, bob: str, price: int) -> None:
    """Ada has kept an NFT without a price, and Bob has got one that stands for three BTC."""
    listed = await shop.call(nfts, "GET", f"/api/nfts/user/{ada}", by=caller(ada))
    assert [nft["name"] for nft in listed.body["nfts"]] == ["Plain"]
    assert (await shop.call(nfts, "GET", f"/api/nfts/user/{ada}", by=caller(bob))).status == 403
    portfolio = await shop.call(nfts, "GET", "/api/portfolio", by=caller(bob))
    holding = {"symbol": "BTC", "nfts": 1, "quantity": 3, "worth": 3 * price}
    assert portfolio.body == {
        "userId": bob, "nfts": 1, "holdings": [holding], "total": 3 * price, "missing": [],
    }  # fmt: skip
