"""Inventory's API. Admins set stock. Reservations are for services inside the mesh only."""

from __future__ import annotations

import time
from collections.abc import Sequence

import structlog
from pydantic import Field

from meshwright.services.events.broker import open_broker
from meshwright.services.events.consumer import EventHandler, EventSubscription, subscribe
from meshwright.services.events.event import ServiceEvent
from meshwright.services.inventory import domain
from meshwright.services.inventory.store import EXPIRED_AT_ONCE, TABLES, ReservationStep, StockStore
from meshwright.services.kit.callers import ADMIN
from meshwright.services.kit.operations import (
    BodyModel,
    HttpError,
    Id,
    Operation,
    OperationRequest,
    OperationResponse,
    QueryModel,
    WholeNumber,
)
from meshwright.services.kit.service import Runtime, ServiceDefinition
from meshwright.services.kit.settings import whole_number

EXPIRY_SECONDS = 5.0
"""Seconds between searches for reservations that expire."""

log = structlog.get_logger()


class StockRequest(BodyModel):
    """The result of counting the shelf."""

    on_hand: WholeNumber = Field(ge=0, le=domain.MAX_STOCK)


class StockResponse(BodyModel):
    """`available` is what can still be reserved: `onHand` less `reserved`."""

    product_id: Id
    on_hand: int
    reserved: int
    available: int


class ReservationItem(BodyModel):
    """A quantity of one product."""

    product_id: Id
    quantity: WholeNumber = Field(ge=1, le=domain.MAX_QUANTITY)


class ReservationRequest(BodyModel):
    """The items of an order. The order's id makes the request idempotent."""

    order_id: Id
    items: list[ReservationItem] = Field(min_length=1, max_length=50)


class ReservationResponse(BodyModel):
    """The reservation of an order. `items` are sorted by product."""

    order_id: Id
    state: domain.ReservationState
    items: list[ReservationItem]


class CancelledOrder(QueryModel):
    """What inventory needs of the event `order.cancelled`."""

    order_id: Id


class InventoryApi:
    """The operations of inventory."""

    def __init__(self, store: StockStore) -> None:
        self._store = store

    def operations(self) -> list[Operation]:
        """All operations."""
        stock, reservation = "/api/inventory/{productId}", "/reservations/{orderId}"
        reserved = {200: ReservationResponse}
        return [
            Operation("GET", stock, "Get the stock of a product", self.get, {200: StockResponse}),
            Operation(
                "PUT",
                stock,
                "Set the stock of a product",
                self.set_stock,
                {200: StockResponse},
                body=StockRequest,
                roles=ADMIN,
            ),
            Operation(
                "POST",
                "/reservations",
                "Reserve all items or none",
                self.reserve,
                reserved,
                body=ReservationRequest,
            ),
            Operation("GET", reservation, "Get the reservation of an order", self.reservation, reserved),
            Operation("POST", f"{reservation}/commit", "Ship the reserved goods", self.commit, reserved),
            Operation("POST", f"{reservation}/release", "Release the reserved goods", self.release, reserved),
        ]

    async def get(self, request: OperationRequest[None, None]) -> OperationResponse:
        product_id = request.path["productId"]
        if not (stock := await self._store.get(product_id)):
            raise HttpError(404, "product_not_found", f"there is no stock of product {product_id}")
        return OperationResponse(_stock_response(product_id, stock))

    async def set_stock(self, request: OperationRequest[StockRequest, None]) -> OperationResponse:
        product_id = request.path["productId"]
        try:
            stock = await self._store.set_stock(product_id, request.body.on_hand)
        except domain.StockConflictError as error:
            raise HttpError(409, error.code, str(error)) from None
        return OperationResponse(_stock_response(product_id, stock))

    async def reserve(self, request: OperationRequest[ReservationRequest, None]) -> OperationResponse:
        order_id = request.body.order_id
        items = domain.merge_items((item.product_id, item.quantity) for item in request.body.items)
        reservation = await self._step(
            order_id,
            lambda stock, current: domain.reserve(order_id, items, stock, current),
            [product for product, _ in items],
        )
        if reservation.state == "rejected":
            raise HttpError(409, "out_of_stock", f"not enough stock for order {order_id}")
        return OperationResponse(_reservation_response(reservation))

    async def reservation(self, request: OperationRequest[None, None]) -> OperationResponse:
        order_id = request.path["orderId"]
        if not (reservation := await self._store.reservation(order_id)):
            raise HttpError(404, "reservation_not_found", f"there is no reservation of order {order_id}")
        return OperationResponse(_reservation_response(reservation))

    async def commit(self, request: OperationRequest[None, None]) -> OperationResponse:
        order_id = request.path["orderId"]
        reservation = await self._step(
            order_id, lambda stock, current: domain.commit(order_id, stock, current)
        )
        return OperationResponse(_reservation_response(reservation))

    async def release(self, request: OperationRequest[None, None]) -> OperationResponse:
        order_id = request.path["orderId"]
        reservation = await self._step(
            order_id, lambda stock, current: domain.release(order_id, stock, current)
        )
        return OperationResponse(_reservation_response(reservation))

    async def _step(
        self, order_id: str, step: ReservationStep, products: Sequence[str] = ()
    ) -> domain.Reservation:
        try:
            return await self._store.step(order_id, products, step, _now())
        except domain.StockConflictError as error:
            raise HttpError(409, error.code, str(error)) from None


def _stock_response(product_id: str, stock: domain.Stock) -> StockResponse:
    return StockResponse(
        product_id=product_id, on_hand=stock.on_hand, reserved=stock.reserved, available=stock.available
    )


def _reservation_response(reservation: domain.Reservation) -> ReservationResponse:
    items = [ReservationItem(product_id=product, quantity=count) for product, count in reservation.lines]
    return ReservationResponse(order_id=reservation.order_id, state=reservation.state, items=items)


def _now() -> int:
    return time.time_ns() // 1_000_000


async def build_operations(runtime: Runtime) -> Sequence[Operation]:
    """Open the store, seed it if it is empty, and expire reservations in the background."""
    store = StockStore(runtime.database)
    if await store.seed(domain.SEED_STOCK):
        log.info("seeded", products=len(domain.SEED_STOCK))
    lifetime = 1000 * whole_number(
        runtime.environ, "RESERVATION_SECONDS", str(domain.RESERVATION_SECONDS), 86_400
    )

    async def expire() -> bool:
        now = _now()
        if expired := await store.expire(now - lifetime, now):
            log.info("reservations expired", count=expired)
        return expired == EXPIRED_AT_ONCE

    await runtime.repeat("expire reservations", EXPIRY_SECONDS, expire)
    if redis := open_broker(runtime):
        handler = _release_cancelled(store)
        await subscribe(runtime, redis, EventSubscription("inventory", ("order.cancelled",), handler))
    return InventoryApi(store).operations()


def _release_cancelled(store: StockStore) -> EventHandler:
    """Releases the goods of cancelled orders. The saga does so first; this finds what it may have missed."""

    async def handle(event: ServiceEvent) -> None:
        order_id = CancelledOrder.model_validate(dict(event.data)).order_id
        try:
            await store.step(
                order_id, (), lambda stock, current: domain.release(order_id, stock, current), _now()
            )
        except domain.StockConflictError as error:
            log.error("cancelled order not released", order_id=order_id, error=str(error))

    return handle


SERVICE = ServiceDefinition("inventory", TABLES, build_operations)
