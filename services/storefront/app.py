"""Storefront: collects the data of a page concurrently. A failed upstream leaves its part empty."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from meshwright.services.kit.client import PartModel, ServiceClient
from meshwright.services.kit.operations import (
    BodyModel,
    Id,
    Operation,
    OperationRequest,
    OperationResponse,
)
from meshwright.services.kit.service import Runtime, ServiceDefinition
from meshwright.services.storefront import page
from meshwright.services.storefront.overview import OverviewApi

PAGE_ITEMS = 5
"""Orders and products on the page."""


class DashboardOrderItem(PartModel):
    """A quantity of one product."""

    productId: str
    quantity: int


class DashboardOrder(PartModel):
    """An order. `total` is in minor units."""

    orderId: str
    items: list[DashboardOrderItem]
    total: int
    status: str


class UserOrders(PartModel):
    """Orders' response."""

    orders: list[DashboardOrder]


class DashboardProduct(PartModel):
    """A product. `price` is in minor units."""

    id: str
    name: str
    price: int


class RecentProducts(PartModel):
    """Catalog's response."""

    products: list[DashboardProduct]


class DashboardUser(BodyModel):
    """The page's user."""

    id: Id


class DashboardResponse(BodyModel):
    """A user's page. Parts named in `missing` are null: their service failed or was too slow."""

    user: DashboardUser
    orders: list[DashboardOrder] | None
    recent_products: list[DashboardProduct] | None
    missing: list[str]


class StorefrontApi:
    """The operations of storefront."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    def operations(self) -> list[Operation]:
        """All operations."""
        return [
            Operation(
                "GET",
                "/api/dashboard",
                "Get a user's page",
                self.dashboard,
                {200: DashboardResponse},
                needs_caller=True,
            )
        ]

    async def dashboard(self, request: OperationRequest[None, None]) -> OperationResponse:
        """All parts concurrently: the page takes as long as the slowest, up to PART_SECONDS."""
        client, user = self._client, request.caller.user_id
        orders, products = await asyncio.gather(
            client.part("orders", f"/api/orders/user/{user}?limit={PAGE_ITEMS}", UserOrders),
            self._client.part("catalog", f"/api/catalog/products/recent?limit={PAGE_ITEMS}", RecentProducts),
        )
        parts = {"orders": orders, "recentProducts": products}
        return OperationResponse(
            DashboardResponse(
                user=DashboardUser(id=user),
                orders=orders.orders if orders else None,
                recent_products=products.products if products else None,
                missing=[name for name, part in parts.items() if part is None],
            )
        )


async def build_operations(runtime: Runtime) -> Sequence[Operation]:
    """The operations, the page and the joint document. Storefront has no database."""
    overview = OverviewApi(runtime.client, runtime.settings.version)
    runtime.routes.extend([*page.routes(), *overview.routes()])
    return [*StorefrontApi(runtime.client).operations(), *overview.operations()]


SERVICE = ServiceDefinition("storefront", None, build_operations)
