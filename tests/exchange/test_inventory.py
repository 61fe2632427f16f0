"""Inventory in two processes on one database: never oversold, every step repeatable."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.exchange.processes import Exchange, Reply, Running


def wish(order: str, **items: int) -> dict[str, Any]:
    """The body of a reservation."""
    return {
        "orderId": order,
        "items": [{"productId": name, "quantity": count} for name, count in items.items()],
    }


async def reserve(exchange: Exchange, to: Running, order: str, **items: int) -> Reply:
    """Reserve for an order."""
    return await exchange.call(to, "POST", "/reservations", wish(order, **items))


async def pair(exchange: Exchange) -> list[Running]:
    """Two replicas."""
    return list(
        await asyncio.gather(
            exchange.start("inventory", SERVICE_VERSION="v1", INSTANCE="inventory-a"),
            exchange.start("inventory", SERVICE_VERSION="v2", INSTANCE="inventory-b"),
        )
    )


async def test_two_replicas_never_sell_more_than_there_is(exchange: Exchange) -> None:
    replicas = await pair(exchange)
    await exchange.set_stock(replicas[0], "pen", 40)
    await exchange.set_stock(replicas[1], "ink", 25)
    wishes = [(f"o{n}", {"pen": 1, "ink": 1} if n % 2 else {"ink": 1, "pen": 2}) for n in range(60)]
    replies = await asyncio.gather(
        *(reserve(exchange, replicas[n % 2], order, **items) for n, (order, items) in enumerate(wishes))
    )
    assert {reply.status for reply in replies} == {200, 409}
    taken = [items for reply, (_, items) in zip(replies, wishes, strict=True) if reply.status == 200]
    pens, inks = sum(items["pen"] for items in taken), sum(items["ink"] for items in taken)
    assert pens <= 40
    assert inks <= 25
    assert pens >= 39 or inks == 25  # nobody was refused while there was enough
    for replica in replicas:
        assert await exchange.stock(replica, "pen") == {
            "onHand": 40,
            "reserved": pens,
            "available": 40 - pens,
        }
        assert await exchange.stock(replica, "ink") == {
            "onHand": 25,
            "reserved": inks,
            "available": 25 - inks,
        }


async def test_one_order_at_both_replicas_at_once_is_reserved_once(exchange: Exchange) -> None:
    replicas = await pair(exchange)
    await exchange.set_stock(replicas[0], "pen", 10)
    replies = await asyncio.gather(*(reserve(exchange, replicas[n % 2], "o", pen=3) for n in range(20)))
    assert {reply.status for reply in replies} == {200}
    assert all(reply.body == replies[0].body for reply in replies)
    assert (await exchange.stock(replicas[1], "pen"))["reserved"] == 3


async def test_commit_and_release_may_be_repeated_anywhere(exchange: Exchange) -> None:
    running, other = await pair(exchange)
    await exchange.set_stock(running, "pen", 10)
    for order in ("kept", "dropped"):
        assert (await reserve(exchange, running, order, pen=2)).status == 200
    for step, order, state in (("commit", "kept", "committed"), ("release", "dropped", "released")):
        replies = [
            await exchange.call(to, "POST", f"/reservations/{order}/{step}")
            for to in (running, other, running)
        ]
        assert [(reply.status, reply.body["state"]) for reply in replies] == [(200, state)] * 3
    assert await exchange.stock(other, "pen") == {"onHand": 8, "reserved": 0, "available": 8}
    assert (await exchange.call(other, "GET", "/reservations/kept")).body["state"] == "committed"
    wrong = await exchange.call(running, "POST", "/reservations/kept/release")
    assert (wrong.status, wrong.code) == (409, "already_committed")


async def test_a_release_that_overtakes_its_reserve_wins(exchange: Exchange) -> None:
    inventory = await exchange.start("inventory")
    assert (await exchange.call(inventory, "POST", "/reservations/o/release")).status == 200
    late = await reserve(exchange, inventory, "o", **{"cold-wallet": 1})
    assert (late.status, late.code) == (409, "reservation_released")
    assert (await exchange.stock(inventory, "cold-wallet"))["reserved"] == 0


async def test_refusals_say_why(exchange: Exchange) -> None:
    inventory = await exchange.start("inventory")
    assert (await reserve(exchange, inventory, "a", nothing=1)).code == "out_of_stock"
    assert (await reserve(exchange, inventory, "b", **{"cold-wallet": 5})).status == 200
    assert (await reserve(exchange, inventory, "b", **{"cold-wallet": 6})).code == "reservation_differs"
    assert (await reserve(exchange, inventory, "c", **{"cold-wallet": 0})).code == "invalid"
    assert (await exchange.call(inventory, "POST", "/reservations/zzz/commit")).code == "not_reserved"
    assert (await exchange.call(inventory, "GET", "/reservations/zzz")).code == "reservation_not_found"
    assert (await exchange.call(inventory, "GET", "/api/inventory/zzz")).code == "product_not_found"
    low = await exchange.call(inventory, "PUT", "/api/inventory/cold-wallet", {"onHand": 4})
    assert (low.status, low.code) == (409, "stock_reserved")


async def test_answers_name_the_replica_and_its_version(exchange: Exchange) -> None:
    replicas = await pair(exchange)
    headers = [
        (await exchange.call(replica, "GET", "/api/inventory/cold-wallet")).headers for replica in replicas
    ]
    assert [header["x-served-by"] for header in headers] == ["inventory-a", "inventory-b"]
    assert [header["x-service-version"] for header in headers] == ["v1", "v2"]


async def test_a_replica_killed_while_it_writes_leaves_the_other_working(exchange: Exchange) -> None:
    doomed, other = await pair(exchange)
    await exchange.set_stock(other, "pen", 100_000)
    orders: list[str] = []
    written = asyncio.Event()

    async def writes() -> None:
        while True:
            orders.append(f"lost{len(orders)}")
            await reserve(exchange, doomed, orders[-1], pen=1)
            written.set()

    writers = [asyncio.ensure_future(writes()) for _ in range(20)]
    await written.wait()
    await doomed.kill()
    results = await asyncio.gather(*writers, return_exceptions=True)
    assert all(isinstance(result, Exception) for result in results)
    again = await asyncio.gather(*(reserve(exchange, other, order, pen=1) for order in orders))
    assert {reply.status for reply in again} == {200}
    assert (await exchange.stock(other, "pen"))["reserved"] == len(orders)
