"""Orders with real services that fail, are killed and come back: paid and delivered, or neither."""

from __future__ import annotations

import asyncio
import random
from typing import Literal

import pytest

from tests.services.exchange_state import is_quiet, query, settled
from tests.services.processes import ServiceProcess, Shop, until

KillPoint = tuple[str, str, Literal["before", "after"]]
KILL_POINTS: list[KillPoint] = [
    (service, path, when)
    for service, path in (("inventory", "/reservations"), ("payments", "/charges"), ("inventory", "/commit"))
    for when in ("before", "after")
]
"""Between every two steps of the saga: before a call, and after it, when its outcome is not stored yet."""

STOCK = {"cold-wallet": 1000, "seed-plate": 1000}
QUICK = {"SAGA_LEASE_SECONDS": "1", "SAGA_PATIENCE_SECONDS": "3600"}


async def start_all(shop: Shop, **environ: str) -> dict[str, ServiceProcess]:
    names = ("catalog", "inventory", "payments", "orders")
    return dict(
        zip(names, await asyncio.gather(*(shop.start(name, **environ) for name in names)), strict=True)
    )


async def kill_orders(shop: Shop, orders: ServiceProcess, point: KillPoint, key: str) -> ServiceProcess:
    """Place an order, kill orders at a point of its saga, and start orders again."""
    service, path, when = point
    hold = shop.proxy.hold(service, when, path)
    placing = asyncio.ensure_future(shop.order(orders, key, {"cold-wallet": 2}))
    await hold.arrived.wait()
    await orders.kill()
    shop.remove_from_proxy(orders)
    assert isinstance((await asyncio.gather(placing, return_exceptions=True))[0], Exception)
    hold.release.set()
    shop.proxy.holds.clear()
    return await shop.start("orders", **QUICK)


async def killed_at(shop: Shop, points: list[KillPoint]) -> None:
    """Nobody asks again for the orders of the killed process, and all are confirmed."""
    orders = (await start_all(shop, **QUICK))["orders"]
    for number, point in enumerate(points):
        await until(lambda: is_quiet(shop))  # so that the hold gets the new order's call
        orders = await kill_orders(shop, orders, point, f"k{number}")
    assert await settled(shop, STOCK) == {"confirmed": len(points)}
    steps = query(shop, "orders", "SELECT order_id, step FROM saga_log WHERE outcome = 'succeeded'")
    assert len(steps) == len(set(steps)) == 5 * len(points)


async def test_orders_are_resumed_after_a_kill(shop: Shop) -> None:
    await killed_at(shop, [KILL_POINTS[0], KILL_POINTS[3], KILL_POINTS[4]])


@pytest.mark.long
async def test_orders_are_resumed_after_a_kill_at_every_step(shop: Shop) -> None:
    await killed_at(shop, KILL_POINTS)


async def test_declined_slow_and_unanswered_cards(shop: Shop) -> None:
    """Payments is killed once it has charged but not answered yet."""
    services = await start_all(shop, **QUICK)
    orders, payments = services["orders"], services["payments"]
    slow = asyncio.ensure_future(shop.order(orders, "slow", {"seed-plate": 1}, card="tok-slow"))
    declined = await shop.order(orders, "declined", {"cold-wallet": 1}, card="tok-declined")
    assert (declined.status, declined.code) == (402, "card_declined")
    again = await shop.order(orders, "declined", {"cold-wallet": 1}, card="tok-declined")
    assert (again.status, again.body) == (402, declined.body)
    assert (await slow).status == 201

    hold = shop.proxy.hold("payments", "after", "/charges", loses=True)
    placing = asyncio.ensure_future(shop.order(orders, "lost", {"cold-wallet": 2}))
    await hold.arrived.wait()
    await payments.kill()
    shop.remove_from_proxy(payments)
    hold.release.set()
    lost = await placing
    assert (lost.status, lost.code) == (503, "payments_unavailable")
    code, listed = await shop.run("orders", "sagas")
    assert code == 0
    assert "charge" in listed
    assert "tok" not in listed
    shop.proxy.holds.clear()
    await shop.start("payments")
    assert await settled(shop, STOCK) == {"confirmed": 2, "cancelled": 1}
    assert (await shop.order(orders, "lost", {"cold-wallet": 2})).status == 201
    assert await shop.run("orders", "sagas") == (0, "no unfinished sagas\n")


async def test_order_that_nobody_charges_in_time_is_undone(shop: Shop) -> None:
    """Also when the charge arrives later after all."""
    _, inventory, orders = await asyncio.gather(
        *(
            shop.start(name, SAGA_PATIENCE_SECONDS="0", SAGA_LEASE_SECONDS="1")
            for name in ("catalog", "inventory", "orders")
        )
    )
    failed = await shop.order(orders, "k", {"cold-wallet": 2})
    assert (failed.status, failed.code) == (503, "payments_unavailable")
    [[order_id]] = query(shop, "orders", "SELECT order_id FROM sagas")
    assert (await shop.run("orders", "sagas", "--retry", order_id))[0] == 0
    assert (await shop.stock(inventory, "cold-wallet"))["reserved"] == 2
    payments = await shop.start("payments")
    assert await settled(shop, STOCK) == {"cancelled": 1}
    assert (await shop.order(orders, "k", {"cold-wallet": 2})).code == "timed_out"
    charge = {"orderId": order_id, "amount": 1, "cardToken": "tok"}
    late = await shop.call(payments, "POST", "/charges", charge, {"Idempotency-Key": order_id})
    assert (late.status, late.code) == (409, "payment_refunded")
    code, output = await shop.run("orders", "sagas", "--retry", order_id)
    assert (code, output.startswith(f"orders: order {order_id} has no unfinished saga")) == (1, True)


async def test_fifty_orders_for_the_last_ten_pieces(shop: Shop) -> None:
    services = await start_all(shop, **QUICK)
    replica = await shop.start("orders", **QUICK)
    await shop.set_stock(services["inventory"], "genesis-print", 10)
    placed = await asyncio.gather(
        *(shop.order((services["orders"], replica)[n % 2], f"k{n}", {"genesis-print": 1}) for n in range(50))
    )
    assert sorted(response.status for response in placed) == [201] * 10 + [409] * 40
    assert {response.code for response in placed if response.status == 409} == {"out_of_stock"}
    assert await settled(shop, {"genesis-print": 10}) == {"confirmed": 10, "cancelled": 40}
    assert await shop.stock(services["inventory"], "genesis-print") == {
        "onHand": 0, "reserved": 0, "available": 0,
    }  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
async def test_a_hundred_orders_while_services_are_killed(shop: Shop, seed: int) -> None:
    """300 orders over all seeds: whatever is killed, once all is up the books agree."""
    rng = random.Random(seed)  # noqa: S311  reproducible, not secret
    environ = {"SAGA_LEASE_SECONDS": "1", "SAGA_PATIENCE_SECONDS": "2"}
    services = await start_all(shop, **environ)
    await shop.set_stock(services["inventory"], "seed-plate", 30)
    cards = ("tok", "tok", "tok", "tok-declined", "tok-slow")

    async def place(number: int) -> None:
        items = {rng.choice(("cold-wallet", "seed-plate")): rng.randint(1, 2)}
        card = rng.choice(cards)
        for _ in range(rng.randint(1, 3)):
            await asyncio.gather(
                shop.order(services["orders"], f"k{number}", items, card=card), return_exceptions=True
            )

    async def kill(name: str) -> None:
        await services[name].kill()
        shop.remove_from_proxy(services[name])
        services[name] = await shop.start(name, **environ)

    for batch in range(10):
        placing = [asyncio.ensure_future(place(10 * batch + number)) for number in range(10)]
        await kill(rng.choice(("inventory", "payments", "orders")))
        await asyncio.gather(*placing)
    await until(lambda: is_quiet(shop))
    statuses = await settled(shop, {"cold-wallet": 1000, "seed-plate": 30})
    assert statuses["confirmed"] > 0
    assert statuses["cancelled"] > 0
