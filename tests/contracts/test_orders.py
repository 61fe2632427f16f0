"""Orders needs prices of catalog, reservations of inventory, and charges of payments."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from meshwright.services.catalog.app import SERVICE as CATALOG
from meshwright.services.inventory.app import SERVICE as INVENTORY
from meshwright.services.kit.operations import HttpError
from meshwright.services.orders.app import OrdersApi
from meshwright.services.orders.domain import Order
from meshwright.services.orders.runner import SagaRunner, SagaSettings
from meshwright.services.orders.saga import Failed, Outcome, Refused, Saga, Step, Succeeded
from meshwright.services.payments.app import SERVICE as PAYMENTS
from tests.contracts.conftest import Exchange

UNUSED: Any = None


def order(number: str, **quantities: int) -> Order:
    items = tuple((name.replace("_", "-"), quantity) for name, quantity in quantities.items())
    return Order(number, "ada", items, 4_900, "pending", 1)


async def attempt(exchange: Exchange, step: Step, of: Order, card: str = "tok") -> Outcome:
    """What orders' saga makes of the answer to a step."""
    runner = SagaRunner(UNUSED, exchange.client, SagaSettings(1, 1), CollectorRegistry())
    return await runner._attempt(of, Saga(of.id, 0, 0, card, step=step))


async def test_catalog_has_a_price_for_each_product(exchange: Exchange) -> None:
    await exchange.serve(CATALOG)
    api = OrdersApi(UNUSED, exchange.client, UNUSED)
    assert await api._prices(["seed-plate", "paper-wallet"]) == {"seed-plate": 4_900, "paper-wallet": 900}
    with pytest.raises(HttpError) as error:
        await api._prices(["no-such-product"])
    assert (error.value.status, error.value.code) == (422, "unknown_product")


async def test_inventory_takes_each_step_of_a_saga_any_number_of_times(exchange: Exchange) -> None:
    await exchange.serve(INVENTORY)
    committed, released = order("committed", seed_plate=1), order("released", seed_plate=1)
    taken: tuple[Step, ...] = ("reserve", "reserve", "commit", "commit")
    returned: tuple[Step, ...] = ("reserve", "reserve", "release", "release")
    for steps, of in ((taken, committed), (returned, released)):
        for step in steps:
            assert await attempt(exchange, step, of) == Succeeded()
    assert await attempt(exchange, "reserve", released) == Refused("reservation_released")
    assert await attempt(exchange, "release", order("unseen")) == Succeeded(), "a tombstone"


async def test_inventory_refuses_what_is_not_in_stock(exchange: Exchange) -> None:
    await exchange.serve(INVENTORY)
    assert await attempt(exchange, "reserve", order("large", seed_plate=999_999)) == Refused("out_of_stock")


async def test_payments_charges_once_and_refunds(exchange: Exchange) -> None:
    await exchange.serve(PAYMENTS)
    paid = order("paid", seed_plate=1)
    steps: tuple[Step, ...] = ("charge", "charge", "refund", "refund")
    for step in steps:
        assert await attempt(exchange, step, paid) == Succeeded()


async def test_payments_declines_a_card(exchange: Exchange) -> None:
    await exchange.serve(PAYMENTS)
    outcome = await attempt(exchange, "charge", order("poor", seed_plate=1), "tok-declined")
    assert outcome == Refused("card_declined")


async def test_a_late_charge_after_its_refund_is_refused(exchange: Exchange) -> None:
    await exchange.serve(PAYMENTS)
    late = order("late", seed_plate=1)
    assert await attempt(exchange, "refund", late) == Succeeded()
    assert isinstance(await attempt(exchange, "charge", late), Refused)


async def test_a_service_that_is_away_is_a_failure(exchange: Exchange) -> None:
    assert isinstance(await attempt(exchange, "reserve", order("any", seed_plate=1)), Failed)
