"""Inventory in two processes on one database: it never oversells, and each step can be repeated."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.services.processes import Response, ServiceProcess, Shop, until


def reservation_body(order: str, **items: int) -> dict[str, Any]:
    return {
        "orderId": order,
        "items": [{"productId": name, "quantity": count} for name, count in items.items()],
    }


async def reserve(shop: Shop, inventory: ServiceProcess, order: str, **items: int) -> Response:
    return await shop.call(inventory, "POST", "/reservations", reservation_body(order, **items))


async def start_two_replicas(shop: Shop) -> list[ServiceProcess]:
    return list(
        await asyncio.gather(
            shop.start("inventory", SERVICE_VERSION="v1", INSTANCE="inventory-a"),
            shop.start("inventory", SERVICE_VERSION="v2", INSTANCE="inventory-b"),
        )
    )


async def test_two_replicas_never_oversell(shop: Shop) -> None:
    replicas = await start_two_replicas(shop)
    await shop.set_stock(replicas[0], "pen", 40)
    await shop.set_stock(replicas[1], "ink", 25)
    orders = [(f"o{n}", {"pen": 1, "ink": 1} if n % 2 else {"ink": 1, "pen": 2}) for n in range(60)]
    responses = await asyncio.gather(
        *(reserve(shop, replicas[n % 2], order, **items) for n, (order, items) in enumerate(orders))
    )
    assert {response.status for response in responses} == {200, 409}
    reserved = [
        items for response, (_, items) in zip(responses, orders, strict=True) if response.status == 200
    ]
    pens, inks = sum(items["pen"] for items in reserved), sum(items["ink"] for items in reserved)
    assert pens <= 40
    assert inks <= 25
    assert pens >= 39 or inks == 25  # no order was rejected while there was enough
    for replica in replicas:
        assert await shop.stock(replica, "pen") == {
            "onHand": 40,
            "reserved": pens,
            "available": 40 - pens,
        }
        assert await shop.stock(replica, "ink") == {
            "onHand": 25,
            "reserved": inks,
            "available": 25 - inks,
        }


async def test_one_order_at_both_replicas_at_once_is_reserved_once(shop: Shop) -> None:
    replicas = await start_two_replicas(shop)
    await shop.set_stock(replicas[0], "pen", 10)
    responses = await asyncio.gather(*(reserve(shop, replicas[n % 2], "o", pen=3) for n in range(20)))
    assert {response.status for response in responses} == {200}
    assert all(response.body == responses[0].body for response in responses)
    assert (await shop.stock(replicas[1], "pen"))["reserved"] == 3


async def test_commit_and_release_can_be_repeated_at_any_replica(shop: Shop) -> None:
    first, second = await start_two_replicas(shop)
    await shop.set_stock(first, "pen", 10)
    for order in ("kept", "dropped"):
        assert (await reserve(shop, first, order, pen=2)).status == 200
    for step, order, state in (("commit", "kept", "committed"), ("release", "dropped", "released")):
        responses = [
            await shop.call(replica, "POST", f"/reservations/{order}/{step}")
            for replica in (first, second, first)
        ]
        assert [(response.status, response.body["state"]) for response in responses] == [(200, state)] * 3
    assert await shop.stock(second, "pen") == {"onHand": 8, "reserved": 0, "available": 8}
    assert (await shop.call(second, "GET", "/reservations/kept")).body["state"] == "committed"
    conflict = await shop.call(first, "POST", "/reservations/kept/release")
    assert (conflict.status, conflict.code) == (409, "already_committed")


async def test_release_that_overtakes_its_reserve_wins(shop: Shop) -> None:
    inventory = await shop.start("inventory")
    assert (await shop.call(inventory, "POST", "/reservations/o/release")).status == 200
    late = await reserve(shop, inventory, "o", **{"cold-wallet": 1})
    assert (late.status, late.code) == (409, "reservation_released")
    assert (await shop.stock(inventory, "cold-wallet"))["reserved"] == 0


async def test_reservation_that_nobody_decides_expires(shop: Shop) -> None:
    inventory = await shop.start("inventory", RESERVATION_SECONDS="0")
    await shop.set_stock(inventory, "pen", 5)
    assert (await reserve(shop, inventory, "vanished", pen=5)).status == 200

    async def is_free() -> bool:
        return (await shop.stock(inventory, "pen"))["reserved"] == 0

    await until(is_free)
    assert (await shop.call(inventory, "GET", "/reservations/vanished")).body["state"] == "expired"
    assert (await shop.call(inventory, "POST", "/reservations/vanished/commit")).status == 200
    assert (await shop.stock(inventory, "pen"))["onHand"] == 0


async def test_rejections_have_codes(shop: Shop) -> None:
    inventory = await shop.start("inventory")
    assert (await reserve(shop, inventory, "a", nothing=1)).code == "out_of_stock"
    assert (await reserve(shop, inventory, "b", **{"cold-wallet": 5})).status == 200
    assert (await reserve(shop, inventory, "b", **{"cold-wallet": 6})).code == "reservation_differs"
    assert (await reserve(shop, inventory, "c", **{"cold-wallet": 0})).code == "invalid"
    assert (await shop.call(inventory, "POST", "/reservations/zzz/commit")).code == "not_reserved"
    assert (await shop.call(inventory, "GET", "/reservations/zzz")).code == "reservation_not_found"
    assert (await shop.call(inventory, "GET", "/api/inventory/zzz")).code == "product_not_found"
    low = await shop.call(inventory, "PUT", "/api/inventory/cold-wallet", {"onHand": 4})
    assert (low.status, low.code) == (409, "stock_reserved")


async def test_responses_name_the_replica_and_its_version(shop: Shop) -> None:
    replicas = await start_two_replicas(shop)
    headers = [
        (await shop.call(replica, "GET", "/api/inventory/cold-wallet")).headers for replica in replicas
    ]
    assert [header["x-served-by"] for header in headers] == ["inventory-a", "inventory-b"]
    assert [header["x-service-version"] for header in headers] == ["v1", "v2"]


async def test_replica_killed_while_writing_leaves_the_other_working(shop: Shop) -> None:
    killed, other = await start_two_replicas(shop)
    await shop.set_stock(other, "pen", 100_000)
    orders: list[str] = []
    written = asyncio.Event()

    async def write() -> None:
        while True:
            orders.append(f"lost{len(orders)}")
            await reserve(shop, killed, orders[-1], pen=1)
            written.set()

    writers = [asyncio.ensure_future(write()) for _ in range(20)]
    await written.wait()
    await killed.kill()
    results = await asyncio.gather(*writers, return_exceptions=True)
    assert all(isinstance(result, Exception) for result in results)
    retries = await asyncio.gather(*(reserve(shop, other, order, pen=1) for order in orders))
    assert {response.status for response in retries} == {200}
    assert (await shop.stock(other, "pen"))["reserved"] == len(orders)
