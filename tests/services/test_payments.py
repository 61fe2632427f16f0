"""Payments in two processes on one database: charged once, refunded for good."""

from __future__ import annotations

import asyncio

from tests.services.processes import Response, ServiceProcess, Shop


async def charge(
    shop: Shop, payments: ServiceProcess, order: str, *, card: str = "tok", amount: int = 100, key: str = "k"
) -> Response:
    body = {"orderId": order, "amount": amount, "cardToken": card}
    return await shop.call(payments, "POST", "/charges", body, {"Idempotency-Key": key})


async def test_payments_are_decided_once_at_any_replica(shop: Shop) -> None:
    first, second = await asyncio.gather(shop.start("payments"), shop.start("payments"))
    responses = await asyncio.gather(
        *(charge(shop, (first, second)[n % 2], "o1", card="tok-slow") for n in range(10))
    )
    assert {response.status for response in responses} == {200}
    assert all(
        response.body == {"orderId": "o1", "state": "charged", "amount": 100} for response in responses
    )
    assert (await charge(shop, second, "o1", amount=200)).code == "payment_differs"
    assert (await charge(shop, second, "o1", key="k2")).code == "payment_differs"
    for replica in (first, second, first):
        refunded = await shop.call(replica, "POST", "/refunds", {"orderId": "o1"})
        assert (refunded.status, refunded.body["state"]) == (200, "refunded")
    late = await charge(shop, first, "o1")
    assert (late.status, late.code) == (409, "payment_refunded")

    declined = await charge(shop, first, "o2", card="tok-declined")
    assert (declined.status, declined.code) == (402, "card_declined")
    assert (await charge(shop, second, "o2")).status == 402

    assert (await shop.call(first, "POST", "/refunds", {"orderId": "o3"})).body["state"] == "void"
    assert (await charge(shop, second, "o3")).code == "payment_refunded"
    assert (await shop.call(second, "GET", "/api/payments/o3")).body["state"] == "void"
    assert (await shop.call(second, "GET", "/api/payments/o4")).code == "payment_not_found"
    logs = first.log.read_text() + second.log.read_text()
    assert "tok" not in logs
