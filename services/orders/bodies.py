"""The bodies and queries of orders' API."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from meshwright.services.kit.operations import BodyModel, Id, QueryModel, WholeNumber
from meshwright.services.orders import domain


class OrderItem(BodyModel):
    """A quantity of one product."""

    product_id: Id
    quantity: WholeNumber = Field(ge=1, le=domain.MAX_QUANTITY)


def _check_quantities(items: list[OrderItem]) -> list[OrderItem]:
    """The limit is about the sum, if a product is repeated. Raises ValueError."""
    for product, quantity in domain.merge_items((item.product_id, item.quantity) for item in items):
        if quantity > domain.MAX_QUANTITY:
            raise ValueError(f"{quantity} of product {product}: {domain.MAX_QUANTITY} at most")
    return items


OrderItems = Annotated[list[OrderItem], Field(max_length=50), AfterValidator(_check_quantities)]
"""Quantities of a repeated product are added up."""


class OrderRequest(BodyModel):
    """A new order."""

    items: OrderItems = Field(min_length=1)
    card_token: Id = Field(repr=False, description="Stands for a card; never a card's number")


class ShipmentRequest(BodyModel):
    """Where the parcel can be found."""

    tracking_number: Id


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
