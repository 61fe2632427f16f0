"""Placing orders: once for a key, whatever breaks on the way."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

from tests.exchange.processes import Exchange, Reply, Running, until


async def opened(exchange: Exchange) -> tuple[Running, Running]:
    """Catalog, inventory and orders; the latter two are returned."""
    _, inventory, orders = await asyncio.gather(
        *(exchange.start(name) for name in ("catalog", "inventory", "orders"))
    )
    return inventory, orders


def query(exchange: Exchange, sql: str) -> list[Any]:
    """Rows of orders' database."""
    with sqlite3.connect(exchange.folder / "data" / "orders.db") as connection:
        return connection.execute(sql).fetchall()


async def test_an_order_is_priced_reserved_and_read_again(exchange: Exchange) -> None:
    inventory, orders = await opened(exchange)
    placed = await exchange.order(orders, "k1", {"cold-wallet": 2, "seed-plate": 1})
    assert placed.status == 201
    order_id = placed.body["orderId"]
    assert placed.body == {
        "orderId": order_id,
        "userId": "ada",
        "items": [{"productId": "cold-wallet", "quantity": 2}, {"productId": "seed-plate", "quantity": 1}],
        "total": 2 * 12_900 + 4_900,
        "status": "pending",
    }
    assert (await exchange.call(orders, "GET", placed.headers["location"])).body == placed.body
    assert (await exchange.stock(inventory, "cold-wallet"))["reserved"] == 2
    second = await exchange.order(orders, "k2", {"seed-plate": 1})
    await exchange.order(orders, "k1", {"seed-plate": 1}, user="bob")
    listed = await exchange.call(orders, "GET", "/api/orders/user/ada")
    assert listed.body == {"orders": [second.body, placed.body]}


async def test_the_same_key_gives_the_same_answer(exchange: Exchange) -> None:
    inventory, orders = await opened(exchange)
    first = await exchange.order(orders, "k", {"cold-wallet": 2})
    assert (await exchange.order(orders, "k", {"cold-wallet": 2})).body == first.body
    assert (await exchange.stock(inventory, "cold-wallet"))["reserved"] == 2
    other = await exchange.order(orders, "k", {"cold-wallet": 3})
    assert (other.status, other.code) == (422, "idempotency_key_reused")


async def test_a_key_used_by_many_at_once_makes_one_order(exchange: Exchange) -> None:
    inventory, orders = await opened(exchange)
    twin = await exchange.start("orders")
    replies = await asyncio.gather(
        *(exchange.order((orders, twin)[n % 2], "k", {"cold-wallet": 2}) for n in range(20))
    )
    assert {reply.status for reply in replies} == {201}
    assert len({reply.body["orderId"] for reply in replies}) == 1
    assert (await exchange.stock(inventory, "cold-wallet"))["reserved"] == 2
    assert query(exchange, "SELECT name FROM events") == [("OrderCreated",)]


async def test_out_of_stock_cancels_the_order_for_good(exchange: Exchange) -> None:
    inventory, orders = await opened(exchange)
    await exchange.set_stock(inventory, "cold-wallet", 1)
    refused = await exchange.order(orders, "k", {"cold-wallet": 2})
    assert (refused.status, refused.code) == (409, "out_of_stock")
    [order] = (await exchange.call(orders, "GET", "/api/orders/user/ada")).body["orders"]
    assert order["status"] == "cancelled"
    await exchange.set_stock(inventory, "cold-wallet", 100)
    again = await exchange.order(orders, "k", {"cold-wallet": 2})
    assert (again.status, again.body) == (409, refused.body)
    assert (await exchange.stock(inventory, "cold-wallet"))["reserved"] == 0


async def test_an_order_waits_for_inventory_and_the_same_key_takes_it_up(exchange: Exchange) -> None:
    _, orders = await asyncio.gather(exchange.start("catalog"), exchange.start("orders"))
    waiting = await exchange.order(orders, "k", {"cold-wallet": 2})
    assert (waiting.status, waiting.code) == (503, "inventory_unavailable")
    [order] = (await exchange.call(orders, "GET", "/api/orders/user/ada")).body["orders"]
    assert order["status"] == "pending"
    inventory = await exchange.start("inventory")
    placed = await exchange.order(orders, "k", {"cold-wallet": 2})
    assert (placed.status, placed.body) == (201, order)
    assert (await exchange.stock(inventory, "cold-wallet"))["reserved"] == 2


async def test_without_a_price_there_is_no_order(exchange: Exchange) -> None:
    _, orders = await asyncio.gather(exchange.start("inventory"), exchange.start("orders"))
    refused = await exchange.order(orders, "k", {"cold-wallet": 2})
    assert (refused.status, refused.code) == (503, "catalog_unavailable")
    assert query(exchange, "SELECT * FROM events") == []
    await exchange.start("catalog")
    unknown = await exchange.order(orders, "k", {"unicorn": 1})
    assert (unknown.status, unknown.code) == (422, "unknown_product")
    assert (await exchange.order(orders, "k", {"cold-wallet": 2})).status == 201


async def killed_in_the_middle(exchange: Exchange, orders: Running, when: Any) -> Running:
    """Orders, killed while it waits for inventory's answer, started again."""
    hold = exchange.proxy.hold("inventory", when)
    placing = asyncio.ensure_future(exchange.order(orders, "k", {"cold-wallet": 2}))
    await hold.arrived.wait()
    await orders.kill()
    exchange.forget(orders)
    assert isinstance((await asyncio.gather(placing, return_exceptions=True))[0], Exception)
    hold.release.set()
    exchange.proxy.holds.clear()
    return await exchange.start("orders")


async def test_an_order_survives_a_kill_before_inventory_heard_of_it(exchange: Exchange) -> None:
    inventory, orders = await opened(exchange)
    orders = await killed_in_the_middle(exchange, orders, "before")
    await completes_once(exchange, inventory, orders)


async def test_an_order_survives_a_kill_after_inventory_reserved(exchange: Exchange) -> None:
    inventory, orders = await opened(exchange)
    orders = await killed_in_the_middle(exchange, orders, "after")
    assert (await exchange.stock(inventory, "cold-wallet"))["reserved"] == 2
    await completes_once(exchange, inventory, orders)


async def completes_once(exchange: Exchange, inventory: Running, orders: Running) -> None:
    """The same key finishes the order, and nothing of it happened twice."""
    placed = await exchange.order(orders, "k", {"cold-wallet": 2})
    assert placed.status == 201
    assert (await exchange.stock(inventory, "cold-wallet"))["reserved"] == 2
    assert query(exchange, "SELECT name FROM events") == [("OrderCreated",)]
    assert query(exchange, "SELECT step FROM saga_steps") == [("reserved",)]


async def test_the_read_model_is_made_anew_from_the_log(exchange: Exchange) -> None:
    inventory, orders = await opened(exchange)
    await exchange.set_stock(inventory, "seed-plate", 0)
    await exchange.order(orders, "k1", {"cold-wallet": 2})
    await exchange.order(orders, "k2", {"seed-plate": 1})
    before = await exchange.call(orders, "GET", "/api/orders/user/ada")
    assert {order["status"] for order in before.body["orders"]} == {"pending", "cancelled"}
    assert await orders.stop() == 0
    query(exchange, "DELETE FROM order_views")
    again = await exchange.start("orders")
    assert (await exchange.call(again, "GET", "/api/orders/user/ada")).body == before.body
    assert "read model rebuilt" in [record["event"] for record in again.records()]


async def test_bad_orders_are_refused_before_anything_happens(exchange: Exchange) -> None:
    orders = await exchange.start("orders")
    item = {"productId": "cold-wallet", "quantity": 1}
    keyed = {"Idempotency-Key": "k"}

    async def post(body: Any, headers: dict[str, str] | None = None) -> Reply:
        return await exchange.call(orders, "POST", "/api/orders", body, headers)

    assert (await post({"userId": "ada", "items": [item]})).code == "idempotency_key_missing"
    assert (await post({"userId": "ada", "items": [item]}, {"Idempotency-Key": "k" * 256})).status == 400
    for bad in (
        {"userId": "ada", "items": []},
        {"items": [item]},
        {"userId": "ada", "items": [{**item, "quantity": 0}]},
    ):
        assert (await post(bad, keyed)).code == "invalid"
    assert (await post({"userId": "a" * 70_000, "items": [item]}, keyed)).status == 413
    assert (await exchange.call(orders, "GET", "/api/orders/nobody")).code == "order_not_found"
    assert exchange.proxy.seen == []


async def test_calls_carry_the_trace_and_the_key(exchange: Exchange) -> None:
    inventory, orders = await opened(exchange)
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"Idempotency-Key": "k", "traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    body = {"userId": "ada", "items": [{"productId": "cold-wallet", "quantity": 1}]}
    assert (await exchange.call(orders, "POST", "/api/orders", body, headers)).status == 201
    assert {call.service for call in exchange.proxy.seen} == {"catalog", "inventory"}
    for call in exchange.proxy.seen:
        assert call.headers["traceparent"].split("-")[1] == trace
        assert call.headers["idempotency-key"] == "k"

    def logged() -> bool:
        served = [record for record in inventory.records() if record["event"] == "request served"]
        return any(item["path"] == "/reservations" and item["trace_id"] == trace for item in served)

    await until(logged)
