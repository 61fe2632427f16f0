"""The dashboard: parts fetched concurrently, and a page in any case."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

from openapi_spec_validator import validate

from tests.services.processes import ServiceProcess, Shop, caller, until


async def page_missing(shop: Shop, storefront: ServiceProcess, missing: list[str]) -> dict[str, Any]:
    """A page without exactly these parts. On a busy machine any part may miss its second now and then."""

    async def page() -> dict[str, Any] | None:
        body: dict[str, Any] = (await shop.call(storefront, "GET", "/api/dashboard", by=caller("ada"))).body
        return body if body["missing"] == missing else None

    body: dict[str, Any] = await until(page)
    return body


async def test_page_has_all_parts(shop: Shop) -> None:
    *_, orders, storefront = await asyncio.gather(
        *(shop.start(name) for name in ("catalog", "inventory", "payments", "orders", "storefront"))
    )
    placed = await shop.order(orders, "k", {"cold-wallet": 2})
    page = await page_missing(shop, storefront, [])
    assert page["user"] == {"id": "ada"}
    [order] = page["orders"]
    assert order == {name: placed.body[name] for name in ("orderId", "items", "total", "status")}
    assert len(page["recentProducts"]) == 5
    assert page["recentProducts"][0] == {"id": "genesis-print", "name": "Genesis print", "price": 3200}
    assert (await shop.call(storefront, "GET", "/api/dashboard", by=caller("bob"))).body["orders"] == []

    async def without_users() -> bool:
        """On a busy machine any other may miss its second, too."""
        health = await shop.call(storefront, "GET", "/api/health", by={})
        assert (health.status, health.body["status"]) == (503, "unhealthy")
        missing = [name for name, status in health.body["services"].items() if status != "ready"]
        return missing == ["users"]

    await until(without_users)
    assert (await shop.call(storefront, "GET", "/api/ready", by={})).body == {"status": "not ready"}

    async def described() -> Any:
        joint = (await shop.call(storefront, "GET", "/api/openapi.json", by={})).body
        running = {"catalog", "inventory", "orders", "payments"}
        return joint if running.isdisjoint(joint["x-missing"]) else None

    joint = await until(described)
    validate(joint)
    assert {"/api/orders", "/api/catalog/products", "/api/payments/{orderId}"} <= joint["paths"].keys()
    assert all(path.startswith("/api/") for path in joint["paths"])


async def test_failed_upstream_is_missing_from_the_page(shop: Shop) -> None:
    orders, storefront = await asyncio.gather(shop.start("orders"), shop.start("storefront"))
    page = await page_missing(shop, storefront, ["recentProducts"])
    assert page == {
        "user": {"id": "ada"},
        "orders": [],
        "recentProducts": None,
        "missing": ["recentProducts"],
    }
    await orders.kill()
    response = await shop.call(storefront, "GET", "/api/dashboard", by=caller("ada"))
    assert (response.status, response.body["missing"]) == (200, ["orders", "recentProducts"])
    assert (await shop.call(storefront, "GET", "/health/ready")).status == 200


async def test_slow_upstream_is_missing_from_the_page(shop: Shop) -> None:
    _, _, storefront = await asyncio.gather(
        *(shop.start(name) for name in ("catalog", "orders", "storefront"))
    )
    hold = shop.proxy.hold("orders", "after")
    start = time.monotonic()
    page = await page_missing(shop, storefront, ["orders"])
    assert hold.arrived.is_set()
    assert not hold.release.is_set()
    assert page["orders"] is None
    assert len(page["recentProducts"]) == 5
    assert time.monotonic() - start > 0.9


async def test_unexpected_response_counts_as_missing(shop: Shop) -> None:
    catalog, storefront = await asyncio.gather(shop.start("catalog"), shop.start("storefront"))
    shop.proxy.ports["orders"].append(catalog.port)  # returns 404 with an error instead of orders
    page = await shop.call(storefront, "GET", "/api/dashboard", by=caller("ada"))
    assert (page.status, page.body["missing"]) == (200, ["orders"])


async def test_request_without_a_valid_user_is_rejected(shop: Shop) -> None:
    storefront = await shop.start("storefront")
    assert (await shop.call(storefront, "GET", "/api/dashboard", by={})).code == "unauthenticated"
    assert (await shop.call(storefront, "GET", "/api/dashboard", by=caller("../x"))).status == 401
    async with shop.session.get(storefront.url) as page:
        assert (page.status, page.content_type) == (200, "text/html")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        files = re.findall(r'(?:href|src)="(/[^"]+)"', await page.text())
    for path in (*files, "/page/api.js"):
        async with shop.session.get(storefront.url + path) as file:
            assert (file.status, file.headers["x-content-type-options"]) == (200, "nosniff")
    assert shop.proxy.calls == []
    assert not (shop.folder / "data").exists()
    assert (await shop.call(storefront, "GET", "/health")).body["checks"].keys() == {"memory"}
