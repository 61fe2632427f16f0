"""The cart of orders' API, and its checkout."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pydantic import Field

from meshwright.services.kit.operations import (
    BodyModel,
    HttpError,
    Id,
    Operation,
    OperationRequest,
    OperationResponse,
)
from meshwright.services.orders import domain
from meshwright.services.orders.bodies import OrderItem, OrderItems, OrderRequest, OrderResponse
from meshwright.services.orders.cart_store import CartStore
from meshwright.services.orders.store import OrderStore

BASE = "/api/cart"

Place = Callable[[OperationRequest[OrderRequest, None], domain.Cart], Awaitable[OperationResponse]]
"""Places an order of a cart."""


class CartBody(BodyModel):
    """What is in a cart."""

    items: OrderItems


class CheckoutRequest(BodyModel):
    """How the cart is paid."""

    card_token: Id = Field(repr=False, description="Stands for a card; never a card's number")


class CartsApi:
    """The operations on the caller's cart."""

    def __init__(self, store: CartStore, orders: OrderStore, place: Place) -> None:
        self._store = store
        self._orders = orders
        self._place = place

    def operations(self) -> list[Operation]:
        """All operations."""
        cart = {200: CartBody}
        return [
            Operation("GET", BASE, "Get one's cart", self.get, cart, needs_caller=True),
            Operation("PUT", BASE, "Fill one's cart", self.put, cart, CartBody, needs_caller=True),
            Operation(
                "POST", f"{BASE}/checkout", "Order what is in one's cart", self.check_out,
                {201: OrderResponse}, CheckoutRequest, needs_key=True, needs_caller=True,
            ),
        ]  # fmt: skip

    async def get(self, request: OperationRequest[None, None]) -> OperationResponse:
        return OperationResponse(_body((await self._store.get(request.caller.user_id)).items))

    async def put(self, request: OperationRequest[CartBody, None]) -> OperationResponse:
        items = domain.merge_items((item.product_id, item.quantity) for item in request.body.items)
        await self._store.put(request.caller.user_id, items)
        return OperationResponse(_body(items))

    async def check_out(self, request: OperationRequest[CheckoutRequest, None]) -> OperationResponse:
        """As placing an order. The cart is empty once the order is confirmed, and kept if it is cancelled."""
        user_id = request.caller.user_id
        cart = await self._store.get(user_id)
        order, _ = await self._orders.load(domain.order_id(user_id, request.key))
        if order is None:
            await self._check_undecided(cart)
        items = order.items if order else cart.items
        if not items:
            raise HttpError(422, "cart_empty", "there is nothing in the cart")
        body = OrderRequest(items=_body(items).items, card_token=request.body.card_token)
        placed = OperationRequest(request.path, body, None, request.key, request.caller)
        return await self._place(placed, cart)

    async def _check_undecided(self, cart: domain.Cart) -> None:
        """Raise HttpError while an order of the same cart is pending: two would be paid."""
        ordered, _ = await self._orders.load(cart.order_id) if cart.order_id else (None, None)
        if ordered is not None and ordered.status == "pending":
            message = f"order {ordered.id} of this cart is pending: repeat with its key, or change the cart"
            raise HttpError(409, "checkout_pending", message)


def _body(items: tuple[tuple[str, int], ...]) -> CartBody:
    return CartBody(items=[OrderItem(product_id=product, quantity=quantity) for product, quantity in items])
