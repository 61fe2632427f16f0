"""Storefront needs a user's orders and the recent products; it lists what is missing."""

from __future__ import annotations

import aiohttp

from meshwright.services.catalog.app import SERVICE as CATALOG
from meshwright.services.inventory.app import SERVICE as INVENTORY
from meshwright.services.orders.app import SERVICE as ORDERS
from meshwright.services.payments.app import SERVICE as PAYMENTS
from meshwright.services.storefront.app import SERVICE as STOREFRONT
from tests.contracts.conftest import Exchange
from tests.services.processes import caller

ADA = caller("ada", "customer")


async def test_orders_and_catalog_fill_the_dashboard(
    exchange: Exchange, session: aiohttp.ClientSession
) -> None:
    for service in (CATALOG, INVENTORY, PAYMENTS):
        await exchange.serve(service)
    orders = await exchange.serve(ORDERS)
    storefront = await exchange.serve(STOREFRONT)
    body = {"items": [{"productId": "seed-plate", "quantity": 2}], "cardToken": "tok"}
    headers = {**ADA, "Idempotency-Key": "k"}
    async with session.post(f"{orders}/api/orders", json=body, headers=headers) as response:
        placed = await response.json()
        assert response.status == 201, placed
    async with session.get(f"{storefront}/api/dashboard", headers=ADA) as response:
        page = await response.json()
    assert page["missing"] == []
    [shown] = page["orders"]
    assert shown == {name: placed[name] for name in ("orderId", "items", "total", "status")}
    assert len(page["recentProducts"]) == 5


async def test_a_dashboard_without_services_lists_both_as_missing(
    exchange: Exchange, session: aiohttp.ClientSession
) -> None:
    storefront = await exchange.serve(STOREFRONT)
    async with session.get(f"{storefront}/api/dashboard", headers=ADA) as response:
        assert response.status == 200
        assert (await response.json())["missing"] == ["orders", "recentProducts"]
