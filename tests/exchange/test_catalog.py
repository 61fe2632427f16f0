"""Catalog over HTTP, with its database."""

from __future__ import annotations

import asyncio

from tests.exchange.processes import Exchange

BASE = "/api/catalog/products"


async def test_a_new_catalog_has_products_once_however_many_start(exchange: Exchange) -> None:
    first, second = await asyncio.gather(exchange.start("catalog"), exchange.start("catalog"))
    totals = [(await exchange.call(running, "GET", BASE)).body["total"] for running in (first, second)]
    assert totals == [6, 6]
    await first.stop()
    again = await exchange.start("catalog")
    assert (await exchange.call(again, "GET", BASE)).body["total"] == 6


async def test_products_are_found_by_words_and_by_age(exchange: Exchange) -> None:
    catalog = await exchange.start("catalog")
    new = {"id": "pen-100", "name": "Pen 100%", "description": "It writes", "price": 250}
    added = await exchange.call(catalog, "POST", BASE, new)
    assert added.status == 201
    assert added.headers["location"] == f"{BASE}/pen-100"
    reply = await exchange.call(catalog, "GET", f"{BASE}?q=100%25")
    assert [product["id"] for product in reply.body["products"]] == ["pen-100"]
    wallets = await exchange.call(catalog, "GET", f"{BASE}?q=WALLET&limit=1")
    assert (len(wallets.body["products"]), wallets.body["total"]) == (1, 2)
    newest = await exchange.call(catalog, "GET", f"{BASE}/recent?limit=2")
    assert newest.body["products"][0] == added.body
    assert len(newest.body["products"]) == 2


async def test_a_product_is_changed_and_removed(exchange: Exchange) -> None:
    catalog = await exchange.start("catalog")
    text = f"{BASE}/cold-wallet"
    changed = await exchange.call(catalog, "PUT", text, {"name": "Colder wallet", "price": 1})
    assert (changed.status, changed.body["name"], changed.body["price"]) == (200, "Colder wallet", 1)
    assert (await exchange.call(catalog, "GET", text)).body == changed.body
    assert (await exchange.call(catalog, "DELETE", text)).status == 204
    for method, body in (("GET", None), ("DELETE", None), ("PUT", {"name": "x", "price": 1})):
        reply = await exchange.call(catalog, method, text, body)
        assert (reply.status, reply.code) == (404, "product_not_found")


async def test_bad_products_are_refused_with_a_reason(exchange: Exchange) -> None:
    catalog = await exchange.start("catalog")
    good = {"name": "Pen", "price": 1}
    bad = [
        ({**good, "price": -1}, "price"),
        ({**good, "price": "1"}, "price"),
        ({**good, "name": ""}, "name"),
        ({**good, "name": "a\u0000b"}, "name"),
        ({**good, "colour": "red"}, "colour"),
        ({**good, "id": "recent"}, "recent"),
        ({**good, "id": "../x"}, "id"),
        ([], "object"),
    ]
    for body, word in bad:
        reply = await exchange.call(catalog, "POST", BASE, body)
        assert (reply.status, reply.code) == (422, "invalid"), body
        assert word in reply.body["error"]["message"]
    taken = await exchange.call(catalog, "POST", BASE, {**good, "id": "cold-wallet"})
    assert (taken.status, taken.code) == (409, "product_exists")
