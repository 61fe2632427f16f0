"""Catalog over HTTP, with its database."""

from __future__ import annotations

import asyncio

from tests.services.processes import Shop

BASE = "/api/catalog/products"


async def test_new_catalog_is_seeded_once_by_any_number_of_replicas(shop: Shop) -> None:
    first, second = await asyncio.gather(shop.start("catalog"), shop.start("catalog"))
    totals = [(await shop.call(replica, "GET", BASE)).body["total"] for replica in (first, second)]
    assert totals == [6, 6]
    await first.stop()
    third = await shop.start("catalog")
    assert (await shop.call(third, "GET", BASE)).body["total"] == 6


async def test_products_are_found_by_text_and_by_age(shop: Shop) -> None:
    catalog = await shop.start("catalog")
    product = {"id": "pen-100", "name": "Pen 100%", "description": "It writes", "price": 250}
    added = await shop.call(catalog, "POST", BASE, product)
    assert added.status == 201
    assert added.headers["location"] == f"{BASE}/pen-100"
    by_text = await shop.call(catalog, "GET", f"{BASE}?q=100%25")
    assert [product["id"] for product in by_text.body["products"]] == ["pen-100"]
    wallets = await shop.call(catalog, "GET", f"{BASE}?q=WALLET&limit=1")
    assert (len(wallets.body["products"]), wallets.body["total"]) == (1, 2)
    prints = await shop.call(catalog, "GET", f"{BASE}?category=prints")
    assert [product["id"] for product in prints.body["products"]] == ["genesis-print"]
    both = await shop.call(catalog, "GET", f"{BASE}?category=backups&q=wallet")
    assert both.body == {"products": [], "total": 0}
    recent = await shop.call(catalog, "GET", f"{BASE}/recent?limit=2")
    assert recent.body["products"][0] == added.body
    assert len(recent.body["products"]) == 2


async def test_product_is_changed_and_removed(shop: Shop) -> None:
    catalog = await shop.start("catalog")
    path = f"{BASE}/cold-wallet"
    changed = await shop.call(catalog, "PUT", path, {"name": "Colder wallet", "price": 1})
    assert (changed.status, changed.body["name"], changed.body["price"]) == (200, "Colder wallet", 1)
    assert (await shop.call(catalog, "GET", path)).body == changed.body
    assert (await shop.call(catalog, "DELETE", path)).status == 204
    for method, body in (("GET", None), ("DELETE", None), ("PUT", {"name": "x", "price": 1})):
        response = await shop.call(catalog, method, path, body)
        assert (response.status, response.code) == (404, "product_not_found")


async def test_categories_are_kept_as_long_as_they_have_products(shop: Shop) -> None:
    catalog = await shop.start("catalog")
    base = "/api/catalog/categories"
    listed = (await shop.call(catalog, "GET", base, by={})).body["categories"]
    assert [(category["id"], category["products"]) for category in listed] == [
        ("backups", 1), ("nodes", 1), ("prints", 1), ("wallets", 3),
    ]  # fmt: skip
    pens = f"{base}/pens"
    for name in ("Pencils", "Pens"):
        put = await shop.call(catalog, "PUT", pens, {"name": name})
        assert (put.status, put.body) == (200, {"id": "pens", "name": name})
    pen = {"name": "Pen", "price": 250, "category": "pens"}
    added = await shop.call(catalog, "POST", BASE, {**pen, "id": "pen"})
    assert (added.status, added.body["category"]) == (201, "pens")
    used = await shop.call(catalog, "DELETE", pens)
    assert (used.status, used.code) == (409, "category_in_use")
    for method, path in (("POST", BASE), ("PUT", f"{BASE}/pen")):
        unknown = await shop.call(catalog, method, path, {**pen, "category": "nothing"})
        assert (unknown.status, unknown.code) == (422, "unknown_category")
    await shop.call(catalog, "PUT", f"{BASE}/pen", {"name": "Pen", "price": 250})
    assert (await shop.call(catalog, "DELETE", pens)).status == 204
    assert (await shop.call(catalog, "DELETE", pens)).code == "category_not_found"
    assert (await shop.call(catalog, "PUT", pens, {"name": "Pens"}, by={})).status == 401


async def test_invalid_products_are_rejected_with_a_reason(shop: Shop) -> None:
    catalog = await shop.start("catalog")
    valid = {"name": "Pen", "price": 1}
    invalid = [
        ({**valid, "price": -1}, "price"),
        ({**valid, "price": "1"}, "price"),
        ({**valid, "name": ""}, "name"),
        ({**valid, "name": "a\u0000b"}, "name"),
        ({**valid, "colour": "red"}, "colour"),
        ({**valid, "id": "recent"}, "recent"),
        ({**valid, "id": "../x"}, "id"),
        ([], "object"),
    ]
    for body, expected in invalid:
        response = await shop.call(catalog, "POST", BASE, body)
        assert (response.status, response.code) == (422, "invalid"), body
        assert expected in response.body["error"]["message"]
    existing = await shop.call(catalog, "POST", BASE, {**valid, "id": "cold-wallet"})
    assert (existing.status, existing.code) == (409, "product_exists")
