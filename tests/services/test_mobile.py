"""A phone's first screen: one small response, whatever is missing."""

from __future__ import annotations

import asyncio

from tests.services.processes import Shop, caller, until


async def test_screen_has_what_is_there_and_names_what_is_missing(shop: Shop) -> None:
    _, nfts, _, mobile = await asyncio.gather(
        *(shop.start(name) for name in ("catalog", "nfts", "notifications", "mobile"))
    )
    ada = caller("ada")
    await shop.call(nfts, "POST", "/api/nfts", {"name": "Plain"}, by=ada)

    async def screen() -> object:
        response = await shop.call(mobile, "GET", "/api/mobile/home", by=ada)
        assert response.status == 200
        # On a busy machine any part may miss its second now and then.
        return response.body if response.body["missing"] == ["name", "spent"] else None

    assert await until(screen) == {
        "name": None,
        "products": ["Genesis print", "Validator kit", "Signing card"],
        "spent": None,
        "worth": 0,
        "unread": 0,
        "missing": ["name", "spent"],
    }
    assert (await shop.call(mobile, "GET", "/api/mobile/home", by={})).code == "unauthenticated"
