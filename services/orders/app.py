"""Orders' API: create an order, reserve its goods, read it.

Creating is repeatable by its Idempotency-Key at any point: what is done is not done again, what is not is
taken up where it stopped, be it by a crash, a neighbour out of reach, or two requests at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence

import structlog
from opentelemetry import trace
from pydantic import Field

from meshwright.services.kit.client import ServiceClient, ServiceUnavailableError
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
from meshwright.services.kit.server import Runtime, ServiceDefinition
from meshwright.services.orders import domain
from meshwright.services.orders.store import TABLES, OrderStore, VersionConflictError

BASE = "/api/orders"
log = structlog.get_logger()


class OrderItem(BodyModel):
    """Some pieces of a product."""

    product_id: Id
    quantity: WholeNumber = Field(ge=1, le=domain.MAX_QUANTITY)


class OrderRequest(BodyModel):
    """Who orders what; a product named twice is added up."""

    user_id: Id
    items: list[OrderItem] = Field(min_length=1, max_length=50)


class OrderResponse(BodyModel):
    """An order. `total` is in minor units, at the prices of the moment it was created."""

    order_id: Id
    user_id: Id
    items: list[OrderItem]
    total: int
    status: domain.OrderStatus


class OrderListResponse(BodyModel):
    """Orders, newest first."""

    orders: list[OrderResponse]


class OrderListQuery(QueryModel):
    """How many of the newest."""

    limit: int = Field(50, ge=1, le=200)


class OrdersApi:
    """The operations, over a store and the neighbours."""

    def __init__(self, store: OrderStore, client: ServiceClient) -> None:
        self._store = store
        self._client = client

    def operations(self) -> list[Operation]:
        """All that orders offers."""
        placed = {201: OrderResponse}
        by_user = f"{BASE}/user/{{userId}}"
        return [
            Operation("POST", BASE, "Place an order", self.place, placed, body=OrderRequest, needs_key=True),
            Operation("GET", f"{BASE}/{{orderId}}", "One order", self.get, {200: OrderResponse}),
            Operation(
                "GET",
                by_user,
                "Orders of a user",
                self.list_by_user,
                {200: OrderListResponse},
                query=OrderListQuery,
            ),
        ]

    async def place(self, call: OperationRequest[OrderRequest, None]) -> OperationResponse:
        """201 with the order once its goods are reserved; 409 when they cannot be: the order is cancelled;
        503 when a neighbour is out of reach: the same key takes it up again.
        """
        user_id = call.body.user_id
        items = domain.merge_items((item.product_id, item.quantity) for item in call.body.items)
        order_id = domain.order_id(user_id, call.key)
        order, done = await self._store.load(order_id)
        if order is None:
            order = await self._create(order_id, user_id, items)
        if order.items != items:
            raise HttpError(
                422, "idempotency_key_reused", f"this key was used for other items, in order {order_id}"
            )
        trace.get_current_span().set_attributes({"order.id": order_id, "order.amount": order.total})
        order = await self._advance(order, done)
        if order.status == "cancelled":
            raise HttpError(
                409, order.reason, f"order {order_id} is cancelled: {order.reason.replace('_', ' ')}"
            )
        return OperationResponse(_order_response(order), 201, {"Location": f"{BASE}/{order_id}"})

    async def get(self, call: OperationRequest[None, None]) -> OperationResponse:
        order_id = call.path["orderId"]
        if not (order := await self._store.get(order_id)):
            raise HttpError(404, "order_not_found", f"there is no order {order_id}")
        return OperationResponse(_order_response(order))

    async def list_by_user(self, call: OperationRequest[None, OrderListQuery]) -> OperationResponse:
        found = await self._store.list_by_user(call.path["userId"], call.query.limit)
        return OperationResponse(OrderListResponse(orders=[_order_response(order) for order in found]))

    async def _create(self, order_id: str, user_id: str, items: tuple[tuple[str, int], ...]) -> domain.Order:
        created = domain.create(user_id, items, await self._prices(product for product, _ in items))
        try:
            order = await self._store.append(order_id, None, created, _now())
        except VersionConflictError:
            return await self._existing(order_id)
        log.info("order created", order_id=order_id, total=order.total)
        return order

    async def _prices(self, products: Iterable[str]) -> dict[str, int]:
        names = list(products)
        return dict(zip(names, await asyncio.gather(*map(self._price, names)), strict=True))

    async def _price(self, product: str) -> int:
        reply = await self._client.call("GET", "catalog", f"/api/catalog/products/{product}")
        if reply.status == 404 and reply.code == "product_not_found":
            raise HttpError(422, "unknown_product", f"there is no product {product}")
        price = reply.body.get("price") if isinstance(reply.body, dict) else None
        if reply.status != 200 or not isinstance(price, int):
            raise ServiceUnavailableError("catalog", f"status {reply.status} where a product was asked for")
        return price

    async def _advance(self, order: domain.Order, done: frozenset[domain.SagaStep]) -> domain.Order:
        """Take the order's next step; returns what became of it, be it by another request meanwhile."""
        if domain.next_step(order, done) is None:
            return order
        items = [{"productId": product, "quantity": quantity} for product, quantity in order.items]
        reply = await self._client.call(
            "POST", "inventory", "/reservations", {"orderId": order.id, "items": items}
        )
        if reply.status == 200:
            await self._store.record_step(order.id, "reserved", _now())
            log.info("order reserved", order_id=order.id)
            return order
        if reply.status != 409 or not reply.code:
            raise ServiceUnavailableError(
                "inventory", f"status {reply.status} where a reservation was asked for"
            )
        try:
            cancelled = await self._store.append(order.id, order, domain.OrderCancelled(reply.code), _now())
        except VersionConflictError:
            return await self._existing(order.id)
        log.info("order cancelled", order_id=order.id, reason=reply.code)
        return cancelled

    async def _existing(self, order_id: str) -> domain.Order:
        order, _ = await self._store.load(order_id)
        if order is None:
            raise RuntimeError(f"order {order_id} has a version but no event")
        return order


def _order_response(order: domain.Order) -> OrderResponse:
    items = [OrderItem(product_id=product, quantity=quantity) for product, quantity in order.items]
    return OrderResponse(
        order_id=order.id, user_id=order.user_id, items=items, total=order.total, status=order.status
    )


def _now() -> int:
    return time.time_ns() // 1_000_000


async def build_operations(runtime: Runtime) -> Sequence[Operation]:
    """Open the store, bring its read model in line with its log, and return the operations."""
    store = OrderStore(runtime.database)
    if await store.is_stale():
        log.warning("read model rebuilt", orders=await store.rebuild())
    return OrdersApi(store, runtime.client).operations()


SERVICE = ServiceDefinition("orders", TABLES, build_operations)
