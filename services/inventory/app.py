"""Inventory's API: stock for everybody to read; reservations for services inside the mesh only."""

from __future__ import annotations

import time
from collections.abc import Sequence

import structlog
from pydantic import Field

from meshwright.services.inventory import domain
from meshwright.services.inventory.store import TABLES, ReservationStep, StockStore
from meshwright.services.kit.operations import (
    BodyModel,
    HttpError,
    Id,
    Operation,
    OperationRequest,
    OperationResponse,
    WholeNumber,
)
from meshwright.services.kit.server import Runtime, ServiceDefinition

log = structlog.get_logger()


class StockRequest(BodyModel):
    """What was counted on the shelf."""

    on_hand: WholeNumber = Field(ge=0, le=domain.MAX_STOCK)


class StockResponse(BodyModel):
    """`available` is what may still be reserved: `onHand` less `reserved`."""

    product_id: Id
    on_hand: int
    reserved: int
    available: int


class ReservationItem(BodyModel):
    """Some pieces of a product."""

    product_id: Id
    quantity: WholeNumber = Field(ge=1, le=domain.MAX_QUANTITY)


class ReservationRequest(BodyModel):
    """What an order wants; the order's id makes it repeatable."""

    order_id: Id
    items: list[ReservationItem] = Field(min_length=1, max_length=50)


class ReservationResponse(BodyModel):
    """What an order holds; `items` sorted by product."""

    order_id: Id
    state: domain.ReservationState
    items: list[ReservationItem]


class InventoryApi:
    """The operations, over a store."""

    def __init__(self, store: StockStore) -> None:
        self._store = store

    def operations(self) -> list[Operation]:
        """All that inventory offers."""
        stock, one = "/api/inventory/{productId}", "/reservations/{orderId}"
        held = {200: ReservationResponse}
        return [
            Operation("GET", stock, "Stock of a product", self.get, {200: StockResponse}),
            Operation(
                "PUT",
                stock,
                "Set what is on the shelf",
                self.set_stock,
                {200: StockResponse},
                body=StockRequest,
            ),
            Operation(
                "POST", "/reservations", "Reserve all or nothing", self.reserve, held, body=ReservationRequest
            ),
            Operation("GET", one, "What an order holds", self.reservation, held),
            Operation("POST", f"{one}/commit", "The goods leave", self.commit, held),
            Operation("POST", f"{one}/release", "The goods are free again", self.release, held),
        ]

    async def get(self, call: OperationRequest[None, None]) -> OperationResponse:
        product_id = call.path["productId"]
        if not (level := await self._store.get(product_id)):
            raise HttpError(404, "product_not_found", f"there is no stock of a product {product_id}")
        return OperationResponse(_stock_response(product_id, level))

    async def set_stock(self, call: OperationRequest[StockRequest, None]) -> OperationResponse:
        product_id = call.path["productId"]
        try:
            return OperationResponse(
                _stock_response(product_id, await self._store.set_stock(product_id, call.body.on_hand))
            )
        except domain.StockConflictError as refusal:
            raise HttpError(409, refusal.code, str(refusal)) from None

    async def reserve(self, call: OperationRequest[ReservationRequest, None]) -> OperationResponse:
        order_id = call.body.order_id
        wanted = domain.merge_items((item.product_id, item.quantity) for item in call.body.items)
        made = await self._step(
            order_id,
            lambda stock, known: domain.reserve(order_id, wanted, stock, known),
            [name for name, _ in wanted],
        )
        if made.state == "rejected":
            raise HttpError(409, "out_of_stock", f"there is not enough stock for order {order_id}")
        return OperationResponse(_reservation_response(made))

    async def reservation(self, call: OperationRequest[None, None]) -> OperationResponse:
        order_id = call.path["orderId"]
        if not (known := await self._store.reservation(order_id)):
            raise HttpError(404, "reservation_not_found", f"there is no reservation of order {order_id}")
        return OperationResponse(_reservation_response(known))

    async def commit(self, call: OperationRequest[None, None]) -> OperationResponse:
        order_id = call.path["orderId"]
        return OperationResponse(
            _reservation_response(
                await self._step(order_id, lambda stock, known: domain.commit(order_id, stock, known))
            )
        )

    async def release(self, call: OperationRequest[None, None]) -> OperationResponse:
        order_id = call.path["orderId"]
        return OperationResponse(
            _reservation_response(
                await self._step(order_id, lambda stock, known: domain.release(order_id, stock, known))
            )
        )

    async def _step(
        self, order_id: str, decide: ReservationStep, products: Sequence[str] = ()
    ) -> domain.Reservation:
        try:
            return await self._store.step(order_id, products, decide, time.time_ns() // 1_000_000)
        except domain.StockConflictError as refusal:
            raise HttpError(409, refusal.code, str(refusal)) from None


def _stock_response(product_id: str, level: domain.Stock) -> StockResponse:
    return StockResponse(
        product_id=product_id, on_hand=level.on_hand, reserved=level.reserved, available=level.available
    )


def _reservation_response(known: domain.Reservation) -> ReservationResponse:
    items = [ReservationItem(product_id=product, quantity=count) for product, count in known.lines]
    return ReservationResponse(order_id=known.order_id, state=known.state, items=items)


async def build_operations(runtime: Runtime) -> Sequence[Operation]:
    """Open the store, fill an empty shelf, and return the operations."""
    store = StockStore(runtime.database)
    if await store.seed(domain.SEED_STOCK):
        log.info("seeded", products=len(domain.SEED_STOCK))
    return InventoryApi(store).operations()


SERVICE = ServiceDefinition("inventory", TABLES, build_operations)
