"""Orders' API: place an order, ship it, read it.

Placing is idempotent by its Idempotency-Key at every step. The request runs the order's saga; what it leaves
unfinished is resumed in the background, and by a retry with the same key.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence

import structlog
from opentelemetry import trace

from meshwright.services.events.broker import open_broker
from meshwright.services.events.outbox import publish_outbox
from meshwright.services.kit.callers import STAFF
from meshwright.services.kit.client import ServiceClient, ServiceUnavailableError
from meshwright.services.kit.operations import (
    HttpError,
    Operation,
    OperationRequest,
    OperationResponse,
)
from meshwright.services.kit.service import Runtime, ServiceDefinition
from meshwright.services.orders import domain
from meshwright.services.orders.bodies import (
    OrderItem,
    OrderListQuery,
    OrderListResponse,
    OrderRequest,
    OrderResponse,
    ShipmentRequest,
)
from meshwright.services.orders.cart_store import CartStore
from meshwright.services.orders.carts import CartsApi
from meshwright.services.orders.runner import CALLEES, SagaRunner, read_saga_settings
from meshwright.services.orders.saga import Saga
from meshwright.services.orders.store import OrderStore, VersionConflictError
from meshwright.services.orders.tables import TABLES, outbox

BASE = "/api/orders"

RESUME_SECONDS = 1.0
"""Seconds between searches for sagas that are due."""

log = structlog.get_logger()


class OrdersApi:
    """The operations of orders."""

    def __init__(self, store: OrderStore, client: ServiceClient, runner: SagaRunner) -> None:
        self._store = store
        self._client = client
        self._runner = runner

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
                needs_caller=True,
            ),
            Operation(
                "POST",
                f"{BASE}/{{orderId}}/ship",
                "Ship a confirmed order",
                self.ship,
                {200: OrderResponse},
                body=ShipmentRequest,
                roles=STAFF,
            ),
            Operation(
                "GET",
                f"{BASE}/{{orderId}}",
                "Get an order",
                self.get,
                {200: OrderResponse},
                needs_caller=True,
            ),
            Operation(
                "GET",
                f"{BASE}/user/{{userId}}",
                "List a user's orders",
                self.list_by_user,
                {200: OrderListResponse},
                query=OrderListQuery,
                needs_caller=True,
            ),
        ]

    async def place(
        self, request: OperationRequest[OrderRequest, None], cart: domain.Cart | None = None
    ) -> OperationResponse:
        """Place an order, of a cart if given: it disappears once the order is confirmed.

        201 with the order once it is paid; 402 or 409 when it was cancelled, because of the card or of the
        stock; 503 while a service is unavailable: the order goes on by itself, or by a retry with its key.
        """
        user_id = request.caller.user_id
        items = domain.merge_items((item.product_id, item.quantity) for item in request.body.items)
        order_id = domain.order_id(user_id, request.key)
        order, saga = await self._store.load(order_id)
        if order is None:
            order, saga = await self._create(order_id, request, items, cart)
        if order.items != items:
            message = f"this key was used for other items, in order {order_id}"
            raise HttpError(422, "idempotency_key_reused", message)
        trace.get_current_span().set_attributes({"order.id": order_id, "order.amount": order.total})
        if saga is not None:
            order, saga = await self._runner.run(order, saga)
        if order.status == "cancelled":
            raise _cancelled(order)
        if order.status == "pending" and saga is not None:
            raise ServiceUnavailableError(CALLEES.get(saga.step, "orders"), saga.error)
        return OperationResponse(_order_response(order), 201, {"Location": f"{BASE}/{order_id}"})

    async def ship(self, request: OperationRequest[ShipmentRequest, None]) -> OperationResponse:
        """200 once shipped, with the same number again too; 409 unless the order is confirmed."""
        order_id = request.path["orderId"]
        order, _ = await self._store.load(order_id)
        if order is None:
            raise _not_found(order_id)
        if order.status == "shipped" and order.tracking_number == request.body.tracking_number:
            return OperationResponse(_order_response(order))
        if order.status != "confirmed":
            message = f"order {order_id} is {order.status}: only a confirmed order can be shipped"
            raise HttpError(409, "order_not_confirmed", message)
        try:
            order = await self._store.append(order, domain.OrderShipped(request.body.tracking_number), _now())
        except VersionConflictError:
            message = f"order {order_id} was changed by another request: try again"
            raise HttpError(409, "order_changed", message) from None
        return OperationResponse(_order_response(order))

    async def get(self, request: OperationRequest[None, None]) -> OperationResponse:
        order_id = request.path["orderId"]
        if not (order := await self._store.get(order_id)):
            raise _not_found(order_id)
        request.check_may_read(order.user_id)
        return OperationResponse(_order_response(order))

    async def list_by_user(self, request: OperationRequest[None, OrderListQuery]) -> OperationResponse:
        request.check_may_read(request.path["userId"])
        orders = await self._store.list_by_user(request.path["userId"], request.query.limit)
        return OperationResponse(OrderListResponse(orders=[_order_response(order) for order in orders]))

    async def _create(
        self,
        order_id: str,
        request: OperationRequest[OrderRequest, None],
        items: tuple[tuple[str, int], ...],
        cart: domain.Cart | None,
    ) -> tuple[domain.Order, Saga | None]:
        caller, prices = request.caller, await self._prices(product for product, _ in items)
        created = domain.create(caller.user_id, items, prices, caller.email)
        saga = self._runner.begin(order_id, request.body.card_token)
        try:
            order = await self._store.create(created, saga, _now(), cart)
        except VersionConflictError:
            return await self._reload(order_id)
        log.info("order created", order_id=order_id, total=order.total)
        return order, saga

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

    async def _reload(self, order_id: str) -> tuple[domain.Order, Saga | None]:
        """The order that a concurrent request has created."""
        order, saga = await self._store.load(order_id)
        if order is None:
            raise RuntimeError(f"order {order_id} has a version but no event")
        return order, saga


def _not_found(order_id: str) -> HttpError:
    return HttpError(404, "order_not_found", f"there is no order {order_id}")


def _cancelled(order: domain.Order) -> HttpError:
    message = f"order {order.id} is cancelled: {order.reason.replace('_', ' ')}"
    return HttpError(402 if order.reason == "card_declined" else 409, order.reason, message)


def _order_response(order: domain.Order) -> OrderResponse:
    items = [OrderItem(product_id=product, quantity=quantity) for product, quantity in order.items]
    return OrderResponse(
        order_id=order.id, user_id=order.user_id, items=items, total=order.total, status=order.status
    )


def _now() -> int:
    return time.time_ns() // 1_000_000


async def build_operations(runtime: Runtime) -> Sequence[Operation]:
    """Open the store, rebuild its read model if it is stale, and resume sagas in the background."""
    settings = read_saga_settings(runtime.environ)
    store = OrderStore(runtime.database)
    if await store.is_stale():
        log.warning("read model rebuilt", orders=await store.rebuild())
    runner = SagaRunner(store, runtime.client, settings, runtime.registry)
    await runtime.repeat("resume sagas", RESUME_SECONDS, runner.resume)
    if redis := open_broker(runtime):
        await publish_outbox(runtime, redis, outbox)
    orders = OrdersApi(store, runtime.client, runner)
    carts = CartsApi(CartStore(runtime.database), store, orders.place)
    return [*orders.operations(), *carts.operations()]


SERVICE = ServiceDefinition("orders", TABLES, build_operations)
