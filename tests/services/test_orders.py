"""Placing orders: once per key, whatever fails on the way."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

from tests.services.processes import Response, ServiceProcess, Shop, caller, until


async def start_all(shop: Shop) -> tuple[ServiceProcess, ServiceProcess]:
    """Start catalog, inventory, payments and orders; returns inventory and orders."""
    _, inventory, _, orders = await asyncio.gather(
        *(shop.start(name) for name in ("catalog", "inventory", "payments", "orders"))
    )
    return inventory, orders


def query(shop: Shop, sql: str) -> list[Any]:
    """Rows of orders' database."""
    with sqlite3.connect(shop.folder / "data" / "orders.db") as connection:
        return connection.execute(sql).fetchall()


def sagas(shop: Shop) -> dict[str, str]:
    """The step of each order's saga."""
    return dict(query(shop, "SELECT order_id, step FROM sagas"))


async def test_order_is_priced_paid_and_read_again(shop: Shop) -> None:
    inventory, orders = await start_all(shop)
    placed = await shop.order(orders, "k1", {"cold-wallet": 2, "seed-plate": 1})
    assert placed.status == 201
    order_id = placed.body["orderId"]
    assert placed.body == {
        "orderId": order_id,
        "userId": "ada",
        "items": [{"productId": "cold-wallet", "quantity": 2}, {"productId": "seed-plate", "quantity": 1}],
        "total": 2 * 12_900 + 4_900,
        "status": "confirmed",
    }
    assert (await shop.call(orders, "GET", placed.headers["location"])).body == placed.body
    assert await shop.stock(inventory, "cold-wallet") == {"onHand": 998, "reserved": 0, "available": 998}
    second = await shop.order(orders, "k2", {"seed-plate": 1})
    await shop.order(orders, "k1", {"seed-plate": 1}, user="bob")
    orders_of_ada = await shop.call(orders, "GET", "/api/orders/user/ada")
    assert orders_of_ada.body == {"orders": [second.body, placed.body]}


async def test_same_key_returns_the_same_order(shop: Shop) -> None:
    inventory, orders = await start_all(shop)
    first = await shop.order(orders, "k", {"cold-wallet": 2})
    assert (await shop.order(orders, "k", {"cold-wallet": 2})).body == first.body
    assert await shop.stock(inventory, "cold-wallet") == {"onHand": 998, "reserved": 0, "available": 998}
    other_items = await shop.order(orders, "k", {"cold-wallet": 3})
    assert (other_items.status, other_items.code) == (422, "idempotency_key_reused")


async def test_cart_becomes_one_order_and_is_kept_when_the_card_is_declined(shop: Shop) -> None:
    _, orders = await start_all(shop)

    async def cart(user: str = "ada", items: dict[str, int] | None = None) -> Response:
        method = "GET" if items is None else "PUT"
        lines = [{"productId": product, "quantity": quantity} for product, quantity in (items or {}).items()]
        body = None if items is None else {"items": lines}
        return await shop.call(orders, method, "/api/cart", body, by=caller(user))

    async def check_out(key: str, card: str = "tok") -> Response:
        headers = {"Idempotency-Key": key}
        path, body = "/api/cart/checkout", {"cardToken": card}
        return await shop.call(orders, "POST", path, body, headers, by=caller("ada"))

    empty: dict[str, Any] = {"items": []}
    assert (await cart()).body == empty
    assert (await check_out("k0")).code == "cart_empty"
    await cart(items={"seed-plate": 1})
    full = (await cart(items={"cold-wallet": 2})).body
    assert full == {"items": [{"productId": "cold-wallet", "quantity": 2}]}
    assert (await check_out("k1", "tok-declined")).code == "card_declined"
    assert (await cart()).body == full
    placed = await check_out("k2")
    assert (placed.status, placed.body["items"], placed.body["status"]) == (201, full["items"], "confirmed")
    assert (await cart()).body == empty
    await cart(items={"seed-plate": 1})
    assert (await check_out("k2")).body == placed.body
    assert (await cart()).body["items"] == [{"productId": "seed-plate", "quantity": 1}]
    assert (await cart("bob")).body == empty
    too_many = {"items": [{"productId": "cold-wallet", "quantity": 6000}] * 2}
    assert (await shop.call(orders, "PUT", "/api/cart", too_many, by=caller("ada"))).code == "invalid"

    payments = next(process for process in shop.processes if process.service == "payments")
    await payments.kill()
    shop.remove_from_proxy(payments)
    assert (await check_out("k3")).code == "payments_unavailable"
    assert (await check_out("k4")).code == "checkout_pending"
    await shop.start("payments")

    async def decided() -> bool:
        return bool((await check_out("k3")).status == 201)

    await until(decided)
    assert (await cart()).body == empty


async def test_concurrent_requests_with_one_key_create_one_order(shop: Shop) -> None:
    inventory, orders = await start_all(shop)
    replica = await shop.start("orders")
    responses = await asyncio.gather(
        *(shop.order((orders, replica)[n % 2], "k", {"cold-wallet": 2}) for n in range(20))
    )
    assert {response.status for response in responses} == {201}
    assert len({response.body["orderId"] for response in responses}) == 1
    assert await shop.stock(inventory, "cold-wallet") == {"onHand": 998, "reserved": 0, "available": 998}
    assert query(shop, "SELECT name FROM events ORDER BY version") == [("OrderCreated",), ("OrderConfirmed",)]


async def test_out_of_stock_cancels_the_order_for_good(shop: Shop) -> None:
    inventory, orders = await start_all(shop)
    await shop.set_stock(inventory, "cold-wallet", 1)
    rejected = await shop.order(orders, "k", {"cold-wallet": 2})
    assert (rejected.status, rejected.code) == (409, "out_of_stock")
    [order] = (await shop.call(orders, "GET", "/api/orders/user/ada")).body["orders"]
    assert order["status"] == "cancelled"
    await shop.set_stock(inventory, "cold-wallet", 100)
    retry = await shop.order(orders, "k", {"cold-wallet": 2})
    assert (retry.status, retry.body) == (409, rejected.body)
    assert (await shop.stock(inventory, "cold-wallet"))["reserved"] == 0


async def test_order_goes_on_once_inventory_is_available(shop: Shop) -> None:
    _, _, orders = await asyncio.gather(*(shop.start(name) for name in ("catalog", "payments", "orders")))
    failed = await shop.order(orders, "k", {"cold-wallet": 2})
    assert (failed.status, failed.code) == (503, "inventory_unavailable")
    [order] = (await shop.call(orders, "GET", "/api/orders/user/ada")).body["orders"]
    assert order["status"] == "pending"
    inventory = await shop.start("inventory")
    await until(lambda: sagas(shop) == {order["orderId"]: "done"})
    placed = await shop.order(orders, "k", {"cold-wallet": 2})
    assert (placed.status, placed.body) == (201, {**order, "status": "confirmed"})
    assert await shop.stock(inventory, "cold-wallet") == {"onHand": 998, "reserved": 0, "available": 998}


async def test_order_without_a_price_is_not_created(shop: Shop) -> None:
    *_, orders = await asyncio.gather(*(shop.start(name) for name in ("inventory", "payments", "orders")))
    failed = await shop.order(orders, "k", {"cold-wallet": 2})
    assert (failed.status, failed.code) == (503, "catalog_unavailable")
    assert query(shop, "SELECT * FROM events") == []
    await shop.start("catalog")
    unknown = await shop.order(orders, "k", {"unicorn": 1})
    assert (unknown.status, unknown.code) == (422, "unknown_product")
    assert (await shop.order(orders, "k", {"cold-wallet": 2})).status == 201


async def test_people_see_only_their_own_orders_and_staff_sees_all(shop: Shop) -> None:
    _, orders = await start_all(shop)
    placed = await shop.order(orders, "k", {"cold-wallet": 1}, user="ada")
    path, of_ada = f"/api/orders/{placed.body['orderId']}", "/api/orders/user/ada"
    for by, status in (
        (caller("ada", "customer"), 200),
        (caller("bob", "customer"), 403),
        (caller("eve", "support"), 200),
        ({}, 401),
    ):
        assert (await shop.call(orders, "GET", path, by=by)).status == status
        assert (await shop.call(orders, "GET", of_ada, by=by)).status == status
    shipment = {"trackingNumber": "T1"}
    assert (await shop.call(orders, "POST", f"{path}/ship", shipment, by=caller("ada"))).code == "forbidden"
    anonymous = await shop.call(orders, "POST", "/api/orders", {}, {"Idempotency-Key": "k"}, by={})
    assert (anonymous.status, anonymous.code) == (401, "unauthenticated")


async def test_confirmed_order_is_shipped_once(shop: Shop) -> None:
    inventory, orders = await start_all(shop)
    await shop.set_stock(inventory, "seed-plate", 0)
    placed = await shop.order(orders, "k1", {"cold-wallet": 1})
    path = f"/api/orders/{placed.body['orderId']}"
    for number, status in (("T1", 200), ("T1", 200), ("T2", 409)):
        shipped = await shop.call(orders, "POST", f"{path}/ship", {"trackingNumber": number})
        assert shipped.status == status
    assert (await shop.call(orders, "GET", path)).body["status"] == "shipped"
    await shop.order(orders, "k2", {"seed-plate": 1})
    cancelled = (await shop.call(orders, "GET", "/api/orders/user/ada")).body["orders"][0]["orderId"]
    refused = await shop.call(orders, "POST", f"/api/orders/{cancelled}/ship", {"trackingNumber": "T3"})
    assert (refused.status, refused.code) == (409, "order_not_confirmed")


async def test_stale_read_model_is_rebuilt_from_the_log(shop: Shop) -> None:
    inventory, orders = await start_all(shop)
    await shop.set_stock(inventory, "seed-plate", 0)
    await shop.order(orders, "k1", {"cold-wallet": 2})
    await shop.order(orders, "k2", {"seed-plate": 1})
    before = await shop.call(orders, "GET", "/api/orders/user/ada")
    assert {order["status"] for order in before.body["orders"]} == {"confirmed", "cancelled"}
    assert await orders.stop() == 0
    query(shop, "DELETE FROM order_views")
    rebuilt = await shop.run("orders", "rebuild")
    assert rebuilt == (0, "read model rebuilt: 2 orders\n")
    assert query(shop, "SELECT count(*) FROM order_views") == [(2,)]
    query(shop, "DELETE FROM order_views")
    restarted = await shop.start("orders")
    assert (await shop.call(restarted, "GET", "/api/orders/user/ada")).body == before.body
    assert "read model rebuilt" in [record["event"] for record in restarted.records()]


async def test_invalid_orders_are_rejected_without_a_call(shop: Shop) -> None:
    orders = await shop.start("orders")
    item = {"productId": "cold-wallet", "quantity": 1}
    valid = {"items": [item], "cardToken": "tok"}
    key = {"Idempotency-Key": "k"}

    async def post(body: Any, headers: dict[str, str] | None = None) -> Response:
        return await shop.call(orders, "POST", "/api/orders", body, headers)

    assert (await post(valid)).code == "idempotency_key_missing"
    assert (await post(valid, {"Idempotency-Key": "k" * 256})).status == 400
    for invalid in (
        {**valid, "items": []},
        {"items": [item]},
        {**valid, "userId": "bob"},
        {**valid, "items": [{**item, "quantity": 0}]},
        {**valid, "cardToken": "4111 1111 1111 1111"},
    ):
        assert (await post(invalid, key)).code == "invalid"
    assert (await post({**valid, "cardToken": "a" * 70_000}, key)).status == 413
    assert (await shop.call(orders, "GET", "/api/orders/nobody")).code == "order_not_found"
    assert shop.proxy.calls == []


async def test_calls_carry_the_trace_and_the_key(shop: Shop) -> None:
    inventory, orders = await start_all(shop)
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"Idempotency-Key": "k", "traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    items = [{"productId": "cold-wallet", "quantity": 1}]
    body = {"items": items, "cardToken": "tok"}
    placed = await shop.call(orders, "POST", "/api/orders", body, headers)
    assert placed.status == 201
    assert {call.service for call in shop.proxy.calls} == {"catalog", "inventory", "payments"}
    for call in shop.proxy.calls:
        assert call.headers["x-user-id"] == "staff"
        assert call.headers["traceparent"].split("-")[1] == trace
        key = "k" if call.service == "catalog" else placed.body["orderId"]
        assert call.headers["idempotency-key"] == key

    def logged() -> bool:
        served = [record for record in inventory.records() if record["event"] == "request served"]
        return any(record["path"] == "/reservations" and record["trace_id"] == trace for record in served)

    await until(logged)
