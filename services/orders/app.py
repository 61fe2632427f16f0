"""Orders' API: create an order, reserve its goods, read it.

Creating is idempotent by its Idempotency-Key at every step. A retry continues where the first attempt
stopped, whether because of a crash, an unavailable service or a concurrent request.
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
    """A quantity of one product."""

    product_id: Id
    quantity: WholeNumber = Field(ge=1, le=domain.MAX_QUANTITY)


class OrderRequest(BodyModel):
    """A new order. Quantities of a repeated product are added up."""

    user_id: Id
    items: list[OrderItem] = Field(min_length=1, max_length=50)


class OrderResponse(BodyModel):
    """An order. `total` is in minor units, at the prices of its creation."""

    order_id: Id
    user_id: Id
    items: list[OrderItem]
    total: int
    status: domain.OrderStatus


class OrderListResponse(BodyModel):
    """Orders, newest first."""

    orders: list[OrderResponse]


class OrderListQuery(QueryModel):
    """The maximum number of orders."""

    limit: int = Field(50, ge=1, le=200)


class OrdersApi:
    """The operations of orders."""

    def __init__(self, store: OrderStore, client: ServiceClient) -> None:
        self._store = store
        self._client = client

    def operations(self) -> list[Operation]:
        """All operations."""
        return [
            Operation(
                "POST",
                BASE,
                "Place an order",
                self.place,
                {201: OrderResponse},
                body=OrderRequest,
                needs_key=True,
            ),
            Operation("GET", f"{BASE}/{{orderId}}", "Get an order", self.get, {200: OrderResponse}),
            Operation(
                "GET",
                f"{BASE}/user/{{userId}}",
                "List a user's orders",
                self.list_by_user,
                {200: OrderListResponse},
                query=OrderListQuery,
            ),
        ]

    async def place(self, request: OperationRequest[OrderRequest, None]) -> OperationResponse:
        """201 with the order once its goods are reserved; 409 if they cannot be, which cancels the order; 503
        if another service is unavailable: a retry with the same key continues.
        """
        user_id = request.body.user_id
        items = domain.merge_items((item.product_id, item.quantity) for item in request.body.items)
        order_id = domain.order_id(user_id, request.key)
        order, done = await self._store.load(order_id)
        if order is None:
            order = await self._create(order_id, user_id, items)
        if order.items != items:
            message = f"this key was used for other items, in order {order_id}"
            raise HttpError(422, "idempotency_key_reused", message)
        trace.get_current_span().set_attributes({"order.id": order_id, "order.amount": order.total})
        order = await self._advance(order, done)
        if order.status == "cancelled":
            message = f"order {order_id} is cancelled: {order.reason.replace('_', ' ')}"
            raise HttpError(409, order.reason, message)
        return OperationResponse(_order_response(order), 201, {"Location": f"{BASE}/{order_id}"})

    async def get(self, request: OperationRequest[None, None]) -> OperationResponse:
        order_id = request.path["orderId"]
        if not (order := await self._store.get(order_id)):
            raise HttpError(404, "order_not_found", f"there is no order {order_id}")
        return OperationResponse(_order_response(order))

    async def list_by_user(self, request: OperationRequest[None, OrderListQuery]) -> OperationResponse:
        orders = await self._store.list_by_user(request.path["userId"], request.query.limit)
        return OperationResponse(OrderListResponse(orders=[_order_response(order) for order in orders]))

    async def _create(self, order_id: str, user_id: str, items: tuple[tuple[str, int], ...]) -> domain.Order:
        created = domain.create(user_id, items, await self._prices(product for product, _ in items))
        try:
            order = await self._store.append(order_id, None, created, _now())
        except VersionConflictError:
            return await self._reload(order_id)
        log.info("order created", order_id=order_id, total=order.total)
        return order

    async def _prices(self, products: Iterable[str]) -> dict[str, int]:
        products = list(products)
        return dict(zip(products, await asyncio.gather(*map(self._price, products)), strict=True))

    async def _price(self, product: str) -> int:
        response = await self._client.call("GET", "catalog", f"/api/catalog/products/{product}")
        if response.status == 404 and response.code == "product_not_found":
            raise HttpError(422, "unknown_product", f"there is no product {product}")
        price = response.body.get("price") if isinstance(response.body, dict) else None
        if response.status != 200 or not isinstance(price, int):
            raise ServiceUnavailableError("catalog", f"status {response.status} instead of a product")
        return price

    async def _advance(self, order: domain.Order, done: frozenset[domain.SagaStep]) -> domain.Order:
        """Run the order's next step. Returns the order as it is then, even if another request changed it."""
        if domain.next_step(order, done) is None:
            return order
        items = [{"productId": product, "quantity": quantity} for product, quantity in order.items]
        body = {"orderId": order.id, "items": items}
        response = await self._client.call("POST", "inventory", "/reservations", body)
        if response.status == 200:
            await self._store.record_step(order.id, "reserved", _now())
            log.info("order reserved", order_id=order.id)
            return order
        if response.status != 409 or not response.code:
            raise ServiceUnavailableError("inventory", f"status {response.status} instead of a reservation")
        try:
            event = domain.OrderCancelled(response.code)
            cancelled = await self._store.append(order.id, order, event, _now())
        except VersionConflictError:
            return await self._reload(order.id)
        log.info("order cancelled", order_id=order.id, reason=response.code)
        return cancelled

    async def _reload(self, order_id: str) -> domain.Order:
        """The order that a concurrent request has written."""
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
    """Open the store and rebuild its read model if it is stale."""
    store = OrderStore(runtime.database)
    if await store.is_stale():
        log.warning("read model rebuilt", orders=await store.rebuild())
    return OrdersApi(store, runtime.client).operations()


SERVICE = ServiceDefinition("orders", TABLES, build_operations)
