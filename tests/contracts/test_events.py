"""Analytics, inventory and notifications need the events and jobs of orders and users as published."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

import aiohttp
import pytest

from meshwright.services.analytics import daily
from meshwright.services.catalog.app import SERVICE as CATALOG
from meshwright.services.events.event import ServiceEvent, from_fields, to_fields
from meshwright.services.inventory.app import SERVICE as INVENTORY
from meshwright.services.inventory.app import CancelledOrder
from meshwright.services.notifications import domain as notifications
from meshwright.services.orders.app import SERVICE as ORDERS
from meshwright.services.payments.app import SERVICE as PAYMENTS
from meshwright.services.users.app import SERVICE as USERS
from tests.contracts.conftest import Exchange
from tests.services.processes import STAFF, caller


def published(exchange: Exchange, service: str, kind: str = "event") -> dict[str, Any]:
    """What waits in a service's outbox for a broker, by name: events in the form of their stream, jobs."""
    with closing(sqlite3.connect(exchange.data / f"{service}.db")) as connection:
        query = "SELECT name, event_id, data FROM outbox WHERE kind = ?"
        rows = connection.execute(query, (kind,)).fetchall()
    if kind == "job":
        return {name: json.loads(data) for name, _, data in rows}
    events = [ServiceEvent(name, identifier, json.loads(data)) for name, identifier, data in rows]
    return {event.name: from_fields(event.name, to_fields(event)) for event in events}


@pytest.fixture
async def orders_placed(exchange: Exchange, session: aiohttp.ClientSession) -> dict[str, str]:
    """The ids of an order that is shipped and of one that is cancelled."""
    for service in (CATALOG, INVENTORY, PAYMENTS):
        await exchange.serve(service)
    url = await exchange.serve(ORDERS)
    for key, status in (("tok", 201), ("tok-declined", 402)):
        body = {"items": [{"productId": "seed-plate", "quantity": 1}], "cardToken": key}
        headers = {**caller("ada", "customer"), "Idempotency-Key": key}
        async with session.post(f"{url}/api/orders", json=body, headers=headers) as response:
            assert response.status == status
    async with session.get(f"{url}/api/orders/user/ada", headers=STAFF) as response:
        placed = {order["status"]: order["orderId"] for order in (await response.json())["orders"]}
    shipment = {"trackingNumber": "T1"}
    address = f"{url}/api/orders/{placed['confirmed']}/ship"
    async with session.post(address, json=shipment, headers=STAFF) as response:
        assert response.status == 200
    return placed


async def test_events_of_orders_are_understood(exchange: Exchange, orders_placed: dict[str, str]) -> None:
    events = published(exchange, "orders")
    assert events.keys() == daily.FIGURES.keys(), "each event is counted by analytics"
    additions = {name: daily.addition(event) for name, event in events.items()}
    assert all(additions.values())
    cancelled = CancelledOrder.model_validate(events["order.cancelled"].data)
    assert cancelled.order_id == orders_placed["cancelled"]


async def test_the_job_of_a_confirmed_order_makes_a_mail(
    exchange: Exchange, orders_placed: dict[str, str]
) -> None:
    jobs = published(exchange, "orders", "job")
    assert jobs.keys() == {notifications.QUEUE}
    notification = notifications.from_job(jobs[notifications.QUEUE])
    assert (notification.address, notification.user_id) == ("ada@example.com", "ada")
    assert orders_placed["confirmed"] in notification.text


async def test_new_users_are_welcomed(exchange: Exchange, session: aiohttp.ClientSession) -> None:
    url = await exchange.serve(USERS)
    credentials = {"email": "ada@example.com", "password": "correct horse battery"}
    async with session.post(f"{url}/api/auth/signup", json=credentials) as response:
        user = (await response.json())["id"]
    events = published(exchange, "users")
    notification = notifications.from_event(events["user.created"])
    assert (notification.address, notification.user_id) == ("ada@example.com", user)
