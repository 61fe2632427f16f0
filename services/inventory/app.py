"""Inventory's API: stock for everybody to read; reservations for services inside the mesh only."""

from __future__ import annotations

import time
from collections.abc import Sequence

import structlog
from pydantic import Field

from services.inventory import domain
from services.inventory.store import TABLES, Step, Warehouse
from services.kit.operations import Answer, Call, Id, Model, Operation, Problem, Whole
from services.kit.server import Assembly, Runtime

log = structlog.get_logger()


class StockCount(Model):
    """What was counted on the shelf."""

    on_hand: Whole = Field(ge=0, le=domain.STOCK_LIMIT)


class StockLevel(Model):
    """`available` is what may still be reserved: `onHand` less `reserved`."""

    product_id: Id
    on_hand: int
    reserved: int
    available: int


class Item(Model):
    """Some pieces of a product."""

    product_id: Id
    quantity: Whole = Field(ge=1, le=domain.QUANTITY_LIMIT)


class NewReservation(Model):
    """What an order wants; the order's id makes it repeatable."""

    order_id: Id
    items: list[Item] = Field(min_length=1, max_length=50)


class Reservation(Model):
    """What an order holds; `items` sorted by product."""

    order_id: Id
    state: domain.State
    items: list[Item]


class Inventory:
    """The operations, over a store."""

    def __init__(self, store: Warehouse) -> None:
        self._store = store

    def operations(self) -> list[Operation]:
        """All that inventory offers."""
        stock, one = "/api/inventory/{productId}", "/reservations/{orderId}"
        held = {200: Reservation}
        return [
            Operation("GET", stock, "Stock of a product", self.get, {200: StockLevel}),
            Operation(
                "PUT", stock, "Set what is on the shelf", self.count, {200: StockLevel}, body=StockCount
            ),
            Operation(
                "POST", "/reservations", "Reserve all or nothing", self.reserve, held, body=NewReservation
            ),
            Operation("GET", one, "What an order holds", self.reservation, held),
            Operation("POST", f"{one}/commit", "The goods leave", self.commit, held),
            Operation("POST", f"{one}/release", "The goods are free again", self.release, held),
        ]

    async def get(self, call: Call[None, None]) -> Answer:
        product_id = call.path["productId"]
        if not (level := await self._store.get(product_id)):
            raise Problem(404, "product_not_found", f"there is no stock of a product {product_id}")
        return Answer(_level(product_id, level))

    async def count(self, call: Call[StockCount, None]) -> Answer:
        product_id = call.path["productId"]
        try:
            return Answer(_level(product_id, await self._store.count(product_id, call.body.on_hand)))
        except domain.RefusedError as refusal:
            raise Problem(409, refusal.code, str(refusal)) from None

    async def reserve(self, call: Call[NewReservation, None]) -> Answer:
        order_id = call.body.order_id
        wanted = domain.merge((item.product_id, item.quantity) for item in call.body.items)
        made = await self._step(
            order_id,
            lambda stock, known: domain.reserve(order_id, wanted, stock, known),
            [name for name, _ in wanted],
        )
        if made.state == "rejected":
            raise Problem(409, "out_of_stock", f"there is not enough stock for order {order_id}")
        return Answer(_held(made))

    async def reservation(self, call: Call[None, None]) -> Answer:
        order_id = call.path["orderId"]
        if not (known := await self._store.reservation(order_id)):
            raise Problem(404, "reservation_not_found", f"there is no reservation of order {order_id}")
        return Answer(_held(known))

    async def commit(self, call: Call[None, None]) -> Answer:
        order_id = call.path["orderId"]
        return Answer(
            _held(await self._step(order_id, lambda stock, known: domain.commit(order_id, stock, known)))
        )

    async def release(self, call: Call[None, None]) -> Answer:
        order_id = call.path["orderId"]
        return Answer(
            _held(await self._step(order_id, lambda stock, known: domain.release(order_id, stock, known)))
        )

    async def _step(self, order_id: str, decide: Step, products: Sequence[str] = ()) -> domain.Reservation:
        try:
            return await self._store.step(order_id, products, decide, time.time_ns() // 1_000_000)
        except domain.RefusedError as refusal:
            raise Problem(409, refusal.code, str(refusal)) from None


def _level(product_id: str, level: domain.Stock) -> StockLevel:
    return StockLevel(
        product_id=product_id, on_hand=level.on_hand, reserved=level.reserved, available=level.available
    )


def _held(known: domain.Reservation) -> Reservation:
    items = [Item(product_id=product, quantity=count) for product, count in known.lines]
    return Reservation(order_id=known.order_id, state=known.state, items=items)


async def assemble(runtime: Runtime) -> Sequence[Operation]:
    """Open the store, fill an empty shelf, and return the operations."""
    store = Warehouse(runtime.database)
    if await store.seed(domain.SEEDS):
        log.info("seeded", products=len(domain.SEEDS))
    return Inventory(store).operations()


ASSEMBLY = Assembly("inventory", TABLES, assemble)
