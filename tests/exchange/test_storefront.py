"""The dashboard: parts side by side, and a page in any case."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from tests.exchange.processes import Exchange, Running, until


async def shown(exchange: Exchange, storefront: Running, missing: list[str]) -> dict[str, Any]:
    """A page that lacks these parts: on a busy machine any of them may miss its second now and then."""

    async def page() -> dict[str, Any] | None:
        body: dict[str, Any] = (await exchange.call(storefront, "GET", "/api/dashboard?user=ada")).body
        return body if body["missing"] == missing else None

    result: dict[str, Any] = await until(page)
    return result


async def test_a_page_has_all_its_parts(exchange: Exchange) -> None:
    _, _, orders, storefront = await asyncio.gather(
        *(exchange.start(name) for name in ("catalog", "inventory", "orders", "storefront"))
    )
    placed = await exchange.order(orders, "k", {"cold-wallet": 2})
    page = await shown(exchange, storefront, [])
    assert page["user"] == {"id": "ada"}
    [order] = page["orders"]
    assert order == {name: placed.body[name] for name in ("orderId", "items", "total", "status")}
    assert len(page["recentProducts"]) == 5
    assert page["recentProducts"][0] == {"id": "genesis-print", "name": "Genesis print", "price": 3200}
    assert (await exchange.call(storefront, "GET", "/api/dashboard?user=bob")).body["orders"] == []


async def test_a_part_that_fails_is_missing_and_the_page_is_not(exchange: Exchange) -> None:
    orders, storefront = await asyncio.gather(exchange.start("orders"), exchange.start("storefront"))
    page = await shown(exchange, storefront, ["recentProducts"])
    assert page == {
        "user": {"id": "ada"},
        "orders": [],
        "recentProducts": None,
        "missing": ["recentProducts"],
    }
    await orders.kill()
    reply = await exchange.call(storefront, "GET", "/api/dashboard?user=ada")
    assert (reply.status, reply.body["missing"]) == (200, ["orders", "recentProducts"])
    assert (await exchange.call(storefront, "GET", "/health/ready")).status == 200


async def test_a_slow_part_is_not_waited_for(exchange: Exchange) -> None:
    _, _, storefront = await asyncio.gather(
        *(exchange.start(name) for name in ("catalog", "orders", "storefront"))
    )
    hold = exchange.proxy.hold("orders", "after")
    start = time.monotonic()
    page = await shown(exchange, storefront, ["orders"])
    assert hold.arrived.is_set()
    assert not hold.release.is_set()
    assert page["orders"] is None
    assert len(page["recentProducts"]) == 5
    assert time.monotonic() - start > 0.9


async def test_an_answer_of_another_form_is_missing(exchange: Exchange) -> None:
    catalog, storefront = await asyncio.gather(exchange.start("catalog"), exchange.start("storefront"))
    exchange.proxy.ports["orders"].append(catalog.port)  # 404 with an error, where orders were asked for
    page = await exchange.call(storefront, "GET", "/api/dashboard?user=ada")
    assert (page.status, page.body["missing"]) == (200, ["orders"])


async def test_nobody_has_no_page(exchange: Exchange) -> None:
    storefront = await exchange.start("storefront")
    assert (await exchange.call(storefront, "GET", "/api/dashboard")).code == "invalid"
    assert (await exchange.call(storefront, "GET", "/api/dashboard?user=../x")).code == "invalid"
    assert exchange.proxy.seen == []
    assert not (exchange.folder / "data").exists()
    assert (await exchange.call(storefront, "GET", "/health")).body["checks"] == {}
